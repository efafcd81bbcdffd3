"""supervisord, the real one: what starts, what stays down, and what is never restarted."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer import supervisors
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File
from deployer.agent.model.supervision import Verbs
from deployer.errors import SettingsError
from deployer.supervisors import UnitSpec
from deployer.supervisors.base import ProcessSpec

GOLDEN = Path(__file__).parent / "golden"
BIN = Path(sys.executable).parent
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
pytestmark = pytest.mark.lab
MAIN = """[unix_http_server]
file={run}/supervisor.sock
[supervisord]
logfile={run}/supervisord.log
pidfile={run}/supervisord.pid
childlogdir={run}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{run}/supervisor.sock
[include]
files={etc}/conf.d/*.conf
"""


def until(what: str, true: Callable[[], bool], within: float = 30.0) -> None:
    """Waits for a condition; the test fails when it does not come."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"it did not come to this: {what}"
        time.sleep(0.05)


class Machine:
    """A folder that stands for a host, its supervisord, and one app with two slots."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(app="shop", env="lab", root=f"{folder}/srv/the shop", prefix=str(folder))
        self.folder = folder
        self.adapter = supervisors.get("supervisord")
        self.process: subprocess.Popen[bytes] | None = None
        etc = folder / "etc/supervisor"
        (etc / "conf.d").mkdir(parents=True)
        for path in ("run", "usr/bin", "srv/the shop/slots", "srv/the shop/releases"):
            (folder / path).mkdir(parents=True)
        (etc / "supervisord.conf").write_text(MAIN.format(run=folder / "run", etc=etc))
        control = folder / "usr/bin/supervisorctl"
        control.write_text(f'#!/bin/sh\nexec {shlex.quote(str(BIN / "supervisorctl"))} "$@"\n')
        control.chmod(0o755)

    def release(self, name: str, script: str) -> None:
        """A release whose `run` is that sh text."""
        folder = Path(self.site.release(name))
        folder.mkdir()
        (folder / "run").write_text("#!/bin/sh\n" + script)
        (folder / "run").chmod(0o755)

    def point(self, port: int, release: str) -> None:
        path = Path(self.site.slot(port))
        path.unlink(missing_ok=True)
        path.symlink_to(f"../releases/{release}")

    def write_units(self, *ports: int, graceful: float = 5, options: Any = None) -> None:
        for wanted in self.adapter.resources(UnitSpec(self.site, ports, graceful, options or {})):
            if isinstance(wanted, Directory):
                Path(wanted.path).mkdir(parents=True, exist_ok=True)
            elif isinstance(wanted, File):
                Path(wanted.path).write_text(wanted.content)

    def handle(self) -> None:
        for commands in self.adapter.handlers(self.site).values():
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, timeout=30)

    def boot(self) -> None:
        command = [str(BIN / "supervisord"), "-n", "-c", f"{self.folder}/etc/supervisor/supervisord.conf"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("supervisord answers", lambda: self.control("pid").returncode == 0)

    def halt(self) -> None:
        """Ends it all at once: supervisord itself would stop one program a second."""
        if not self.process:
            return
        programs = [int(word) for word in self.control("pid", "all").stdout.split() if word.isdigit() and word != "0"]
        self.process.kill()
        self.process.wait(30)
        self.process = None
        for program in programs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program, signal.SIGKILL)

    def control(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [f"{self.folder}/usr/bin/supervisorctl", "-c", f"{self.folder}/etc/supervisor/supervisord.conf"]
        return subprocess.run([*command, *words], capture_output=True, text=True, timeout=30)

    def state(self, port: int) -> str:
        return [*self.control("status", f"shop-{port}").stdout.split(), "", ""][1]

    def verbs(self, port: int) -> Verbs:
        return self.adapter.verbs(self.site, port)

    def do(self, verb: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        words = [word.replace("{lines}", "20") for word in verb]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    def pid(self, port: int) -> int:
        return int(self.do(self.verbs(port).pid).stdout.strip() or 0)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "host")
    made.release("good", 'echo "serving on $PORT"\nexec sleep 3600\n')
    made.release("better", "exec sleep 3601\n")
    made.release("broken", "echo it does not load >&2\nexit 3\n")
    try:
        yield made
    finally:
        made.halt()


def test_the_configuration_is_as_it_was() -> None:
    site = Site(app="shop", env="prod", root="/srv/shop", user="shop")
    logs, file, *_ = supervisors.get("supervisord").resources(UnitSpec(site, (8000, 8100), 30.0))
    assert isinstance(file, File) and isinstance(logs, Directory)
    assert file.path == "/etc/supervisor/conf.d/shop.conf"
    golden(file.content, "shop.conf")


def golden(text: str, name: str) -> None:
    if os.environ.get("DEPLOY_GOLDEN") == "write":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"MemoryMax": "1G"}, "MemoryMax", "LimitAS"),
        ({"CPUQuota": "50%"}, "CPUQuota", "systemctl edit supervisor.service"),
        ({"PrivateTmp": True}, "PrivateTmp", "supervisor: systemd"),
        ({"LimitNOFILE": "1024; reboot"}, "LimitNOFILE", "a number"),
        ({"LimitAS": "much"}, "LimitAS", "2G"),
        ({"Nice": -5}, "Nice", "a number"),
        ({"UMask": "999"}, "UMask", "octal"),
    ],
)
def test_what_supervisord_cannot_do_is_refused_with_what_it_can(options: Any, said: str, hint: str) -> None:
    site = Site(app="shop", env="prod", root="/srv/shop", user="shop")
    with pytest.raises(SettingsError) as caught:
        supervisors.get("supervisord").resources(UnitSpec(site, (8000,), 30.0, options))
    assert said in caught.value.message and hint in str(caught.value.hint)


SHOWS = "echo files $(ulimit -n) memory $(ulimit -v) nice $(nice) mask $(umask)\nexec sleep 3600\n"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (
            {"LimitNOFILE": 1234, "LimitAS": "3G", "Nice": 7, "UMask": "0027"},
            "files 1234 memory 3145728 nice 7 mask 0027",
        ),
        ({}, f"files {min(65536, HARD)} memory unlimited"),
    ],
)
def test_limits_hold_for_what_runs(machine: Machine, options: Any, shown: str) -> None:
    machine.release("shows", SHOWS)
    machine.write_units(8000, options=options)
    machine.point(8000, "shows")
    machine.boot()
    until("it shows its limits", lambda: shown in machine.do(machine.verbs(8000).log).stdout)


def test_a_limit_that_cannot_be_set_fails_the_start_and_says_so(machine: Machine) -> None:
    machine.write_units(8000, options={"LimitNOFILE": 1 << 30})
    machine.point(8000, "good")
    machine.boot()
    until("it says why", lambda: "ulimit" in machine.do(machine.verbs(8000).log).stdout)
    assert "serving" not in machine.do(machine.verbs(8000).log).stdout
    assert machine.do(machine.verbs(8000).stop).returncode == 0


def test_new_programs_are_made_known_and_stay_down_until_their_slot_is_used(machine: Machine) -> None:
    machine.boot()
    machine.write_units(8000, 8100)
    machine.handle()
    until("both gave up quietly", lambda: {machine.state(8000), machine.state(8100)} == {"EXITED"})
    machine.point(8000, "good")
    assert machine.do(machine.verbs(8000).start).returncode == 0
    pid = machine.pid(8000)
    assert os.path.realpath(f"/proc/{pid}/cwd") == os.path.realpath(machine.site.release("good"))
    assert machine.state(8100) == "EXITED" and machine.pid(8100) == 0
    until("its output is in the log", lambda: "serving on 8000" in machine.do(machine.verbs(8000).log).stdout)


def test_a_start_right_after_setup_does_not_mistake_the_waiting_shell_for_the_app(machine: Machine) -> None:
    machine.boot()
    machine.write_units(8000)
    machine.handle()
    until("the shell waits", lambda: machine.pid(8000) > 0)
    machine.point(8000, "good")
    assert machine.do(machine.verbs(8000).start).returncode == 0
    cwd = os.path.realpath(f"/proc/{machine.pid(8000)}/cwd")
    assert cwd == os.path.realpath(machine.site.release("good"))


def test_after_a_reboot_the_slots_in_use_come_up_and_no_others(machine: Machine) -> None:
    machine.write_units(8000, 8100)
    machine.point(8100, "good")
    machine.boot()
    until("the used slot runs", lambda: machine.state(8100) == "RUNNING")
    until("the other gave up quietly", lambda: machine.state(8000) == "EXITED")


def test_a_program_that_dies_is_started_again_whatever_its_exit_status(machine: Machine) -> None:
    machine.release("leaves", "sleep 2\nexit 0\n")
    machine.write_units(8000)
    machine.point(8000, "leaves")
    machine.boot()
    until("it runs", lambda: machine.state(8000) == "RUNNING")
    first = machine.pid(8000)
    until("another runs in its place", lambda: machine.pid(8000) not in (0, first))


def test_a_release_that_dies_at_once_fails_to_start_and_the_good_one_starts_after_it(machine: Machine) -> None:
    machine.write_units(8000)
    machine.point(8000, "good")
    machine.boot()
    until("it runs", lambda: machine.state(8000) == "RUNNING")
    assert machine.do(machine.verbs(8000).stop).returncode == 0
    machine.point(8000, "broken")
    failed = machine.do(machine.verbs(8000).start)
    assert failed.returncode != 0 and "shop-8000" in failed.stderr
    assert "it does not load" in machine.do(machine.verbs(8000).log).stdout
    assert machine.do(machine.verbs(8000).stop).returncode == 0
    machine.point(8000, "good")
    assert machine.do(machine.verbs(8000).start).returncode == 0


def test_stop_and_start_may_be_repeated(machine: Machine) -> None:
    machine.write_units(8000)
    machine.point(8000, "good")
    machine.boot()
    assert machine.do(machine.verbs(8000).start).returncode == 0
    pid = machine.pid(8000)
    assert machine.do(machine.verbs(8000).start).returncode == 0
    assert machine.pid(8000) == pid, "a start restarted what ran well"
    assert machine.do(machine.verbs(8000).stop).returncode == 0
    assert machine.do(machine.verbs(8000).stop).returncode == 0
    assert machine.do(machine.verbs(9999).stop).returncode == 0
    assert machine.pid(8000) == 0


# supervisorctl in the one moment that counts: supervisord is connected to, learns that the program died, and is asked.
DIES_MEANWHILE = """
import http.client, os, signal, socket, sys, time
path, pid = sys.argv[1], int(sys.argv[2])
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(path)
time.sleep(0.2)  # it has taken the connection, and waits for what it is asked
os.kill(pid, signal.SIGKILL)
while os.path.exists("/proc/%d" % pid):
    time.sleep(0.01)
name = "<methodName>supervisor.stopProcess</methodName>"
params = "<params><param><value><string>shop-8000</string></value></param></params>"
connection.request("POST", "/RPC2", "<methodCall>%s%s</methodCall>" % (name, params), {"Content-Type": "text/xml"})
if b"NOT_RUNNING" in connection.getresponse().read():
    print("shop-8000: ERROR (not running)")
    sys.exit(1)
open(sys.argv[3], "w").close()  # asked after the moment: supervisord had started the program again, and stopped it
print("shop-8000: stopped")
"""


def test_one_that_died_just_now_is_stopped_although_it_is_started_again(machine: Machine) -> None:
    machine.write_units(8000)
    machine.point(8000, "good")
    machine.boot()
    until("it runs", lambda: machine.state(8000) == "RUNNING")
    control = machine.folder / "usr/bin/supervisorctl"
    as_ever, racing, missed = control.with_name("as-ever"), machine.folder / "racing.py", machine.folder / "missed"
    racing.write_text(DIES_MEANWHILE)
    for _ in range(50):
        missed.unlink(missing_ok=True)
        first = f'"{sys.executable}" "{racing}" "{machine.folder}/run/supervisor.sock" {machine.pid(8000)} "{missed}"'
        control.rename(as_ever)
        control.write_text(f'#!/bin/sh\nmv "{as_ever}" "$0"\nexec {first}\n')
        control.chmod(0o755)
        assert machine.do(machine.verbs(8000).stop).returncode == 0
        assert (machine.state(8000), machine.pid(8000)) == ("STOPPED", 0)
        if not missed.exists():
            return
        assert machine.do(machine.verbs(8000).start).returncode == 0
        until("it runs again", lambda: machine.state(8000) == "RUNNING")
    pytest.fail("the moment was never hit")


def test_a_changed_definition_restarts_nothing_and_counts_from_the_next_start(machine: Machine) -> None:
    machine.write_units(8000, 8100)
    machine.point(8000, "good")
    machine.point(8100, "good")
    machine.boot()
    until("both run", lambda: machine.state(8000) == machine.state(8100) == "RUNNING")
    before = machine.pid(8000), machine.pid(8100)
    conf = Path(machine.site.system("/etc/supervisor/conf.d/shop.conf"))
    machine.write_units(8000, 8100, 8200, graceful=7)
    conf.write_text(conf.read_text().replace('PORT="8000"', 'PORT="8000",NEW="yes"'))
    machine.handle()
    assert (machine.pid(8000), machine.pid(8100)) == before
    until("the new slot is known", lambda: machine.state(8200) == "EXITED")
    assert machine.do(machine.verbs(8000).stop).returncode == 0
    machine.point(8000, "better")
    assert machine.do(machine.verbs(8000).start).returncode == 0
    environ = Path(f"/proc/{machine.pid(8000)}/environ").read_bytes().split(b"\0")
    assert b"NEW=yes" in environ
    assert machine.pid(8100) == before[1]


def test_an_app_whose_name_begins_like_ours_is_left_alone(machine: Machine) -> None:
    machine.boot()
    machine.write_units(8000)
    conf = Path(machine.site.system("/etc/supervisor/conf.d/shop.conf"))
    (conf.parent / "shop-2.conf").write_text(conf.read_text().replace("shop-8000", "shop-2-8000"))
    machine.handle()
    until("ours is known", lambda: machine.state(8000) != "")
    known = machine.control("status").stdout
    assert "shop-8000" in known and "shop-2-8000" not in known


def test_two_apps_that_come_to_one_program_are_refused(machine: Machine) -> None:
    machine.boot()
    machine.write_units(8000)
    conf = Path(machine.site.system("/etc/supervisor/conf.d/shop.conf"))
    (conf.parent / "other.conf").write_text("[program:shop-8000]\ncommand=/bin/true\n")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        machine.handle()
    assert "other.conf too" in refused.value.stderr.decode()


def test_a_supervisord_that_is_down_fails_the_verbs_with_its_reason(machine: Machine) -> None:
    machine.write_units(8000)
    for verb in (machine.verbs(8000).start, machine.verbs(8000).stop):
        done = machine.do(verb)
        assert done.returncode != 0 and "sock" in done.stderr


def test_the_programs_of_processes_are_as_they_were() -> None:
    spec = UnitSpec(
        Site("shop", "prod", "/srv/shop", user="shop"), (8000,), 30.0, processes=(ProcessSpec("worker", 2, 600.0),)
    )
    _, file, *_ = supervisors.get("supervisord").resources(spec)
    assert isinstance(file, File)
    golden(file.content, "with-processes.conf")


def test_supervisords_own_rotation_loses_no_line_and_restarts_nothing(machine: Machine) -> None:
    lines = 20_000
    machine.release("talks", f'i=0\nwhile [ $i -lt {lines} ]; do echo "line $i"; i=$((i+1)); done\nexec sleep 3600\n')
    machine.write_units(8000)
    conf = Path(machine.site.system("/etc/supervisor/conf.d/shop.conf"))
    conf.write_text(conf.read_text().replace("maxbytes=20MB", "maxbytes=40KB").replace("backups=3", "backups=30"))
    machine.point(8000, "talks")
    machine.boot()
    until("it runs", lambda: machine.state(8000) == "RUNNING")
    pid = machine.pid(8000)
    log = Path(machine.site.system("/var/log/supervisor/shop-8000.log"))

    def written() -> list[str]:
        parts = [log.with_name(f"{log.name}.{number}") for number in range(30, 0, -1)] + [log]
        return "".join(part.read_text() for part in parts if part.exists()).splitlines()

    until("all is written", lambda: f"line {lines - 1}" in written())
    assert written() == [f"line {number}" for number in range(lines)]
    # It looks at the size after each read, and a read takes what a busy machine has let pile up: 64 KiB, a full pipe.
    assert log.with_name(log.name + ".2").exists(), "it never rotated"
    assert machine.pid(8000) == pid
