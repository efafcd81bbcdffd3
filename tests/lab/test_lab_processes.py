"""Labs of processes: hosts that anyone can have, without root."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.agents import until
from support.labs import processes_with, ssh, ssh_argv

from deployer.cache import cache
from deployer.errors import DeployError, UsageError
from deployer.inventory.load import load
from deployer.lab import Lab, LabSpec, down, names, operate, status, up
from deployer.lab.commands import run, wait_until
from deployer.rollout.run.record import Record

pytestmark = pytest.mark.lab

SLEEPER = """\
[program:sleeper]
command = sleep 3600
"""

PAGE = """\
frontend hello
    bind {address}
    http-request return status 200 content-type text/plain string "hello from {address}"
"""


def _told(line: str) -> None:
    assert line and "\n" not in line


def test_every_host_opens_to_the_labs_key_and_says_who_it_is(lab: Lab) -> None:
    assert list(lab.hosts) == ["web1", "web2", "web3", "lb1"]
    for name, entry in lab.hosts.items():
        seen = ssh(entry, "echo $PATH; command -v supervisorctl")
        path, supervisorctl = seen.stdout.split()
        prefix = f"{lab.folder}/hosts/{name}/root"
        assert path.startswith(f"{prefix}/usr/bin:{prefix}/usr/sbin:")
        assert supervisorctl == f"{prefix}/usr/bin/supervisorctl"


def test_a_host_refuses_another_key_and_an_impostor_is_noticed(lab: Lab, tmp_path: Path) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"])
    refused = ssh(lab.hosts["web1"], "true", key=str(tmp_path / "other"))
    assert refused.returncode == 255 and "Permission denied" in refused.stderr

    known = Path(lab.hosts["web1"]["known_hosts"]).read_text().splitlines()
    swapped = f"{known[0].split()[0]} {' '.join(known[1].split()[1:])}\n"
    (tmp_path / "known_hosts").write_text(swapped)
    noticed = ssh({**lab.hosts["web1"], "known_hosts": str(tmp_path / "known_hosts")}, "true")
    assert noticed.returncode == 255 and "HOST IDENTIFICATION HAS CHANGED" in noticed.stderr


def test_the_inventory_is_what_deploy_reads(lab: Lab) -> None:
    found = load(lab.name, Path(lab.folder), Path(lab.inventory))
    assert found.groups["web"] == ("web1", "web2", "web3") and found.groups["balancers"] == ("lb1",)
    web, balancer = found["web1"], found["lb1"]
    assert web.prefix == f"{lab.folder}/hosts/web1/root" and web.variables["deploy_supervisor"] == "supervisord"
    assert web.ssh.hostname == lab.hosts["web1"]["host"] and web.ssh.port == lab.hosts["web1"]["port"]
    assert web.ssh.keys == (lab.hosts["web1"]["key"],)
    assert balancer.variables["deploy_listen"] == lab.address


def test_a_program_put_into_conf_d_runs_under_the_hosts_supervisord(lab: Lab) -> None:
    entry = lab.hosts["web1"]
    folder = f"{lab.folder}/hosts/web1/root/etc/supervisor/conf.d"
    ssh(entry, f"cat > {folder}/sleeper.conf", text_in=SLEEPER)
    try:
        assert "sleeper: added process group" in ssh(entry, "supervisorctl update").stdout
        assert wait_until(lambda: "RUNNING" in ssh(entry, "supervisorctl status sleeper").stdout, within=20)
    finally:
        ssh(entry, f"rm {folder}/sleeper.conf; supervisorctl update")


def test_haproxy_serves_what_is_put_into_its_folder(lab: Lab) -> None:
    entry = lab.hosts["lb1"]
    page = f"{lab.folder}/hosts/lb1/root/etc/haproxy/deploy/hello.cfg"
    ssh(entry, f"cat > {page}", text_in=PAGE.format(address=lab.address))
    try:
        assert "haproxy: started" in ssh(entry, "supervisorctl restart haproxy").stdout
        assert wait_until(lambda: _get(lab.address) == f"hello from {lab.address}", within=20)
    finally:
        ssh(entry, f"rm {page}; supervisorctl restart haproxy")


@pytest.mark.more
def test_a_host_makes_virtual_environments_that_do_not_depend_on_ours(lab: Lab) -> None:
    made = ssh(
        lab.hosts["web2"], "python3 -m venv ~/v && ~/v/bin/python -c 'import sys; print(sys.prefix, sys.base_prefix)'"
    )
    prefix, base = made.stdout.split()
    assert prefix == f"{lab.folder}/hosts/web2/root/home/v"
    assert base == sys.base_prefix


def test_pulling_the_plug_kills_all_of_one_host_and_nothing_of_another(lab: Lab) -> None:
    entry = lab.hosts["web3"]
    ssh(entry, "echo kept > ~/kept; cd ~; setsid env -i sleep 3600 >/dev/null 2>&1 </dev/null &")
    until(lambda: any("sleep 3600" in line for line in processes_with(f"{lab.folder}/hosts/web3")))

    lab.power_off("web3")
    assert not lab.running("web3") and processes_with(f"{lab.folder}/hosts/web3") == []
    assert ssh(entry, "true").returncode == 255
    with pytest.raises(DeployError, match=r"web3 of the lab .* is off"):
        lab.exec("web3", ["true"])
    assert ssh(lab.hosts["web2"], "supervisorctl pid").returncode == 0

    lab.power_on("web3")
    assert ssh(entry, "cat ~/kept; supervisorctl pid").stdout.startswith("kept\n")


def test_a_cut_link_is_silent_and_what_was_said_meanwhile_arrives_when_it_mends(lab: Lab) -> None:
    entry = lab.hosts["web1"]
    argv = ssh_argv(entry, "while read -r line; do echo heard $line; done")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin and session.stdout
        try:
            assert _say(session, "one") == "heard one\n"
            lab.cut("web1")
            session.stdin.write("two\n")
            session.stdin.flush()
            assert ssh(entry, "true").returncode == 255  # silence until ConnectTimeout
            assert session.poll() is None
            assert lab.exec("web1", ["supervisorctl", "pid"]).returncode == 0
        finally:
            lab.mend("web1")
        assert session.stdout.readline() == "heard two\n"
        session.stdin.close()


def test_a_lab_can_be_found_again_and_up_again_only_switches_on_what_is_off(lab: Lab) -> None:
    found = status(lab.name)
    assert found == lab and lab.name in names()
    record = Record("lab status")
    operate.status(record, name=lab.name)
    closing = record.finish().as_json()
    assert closing["address"] == lab.address and closing["kind"] == lab.kind
    assert closing["hosts"]["web1"].items() >= lab.hosts["web1"].items()
    assert Lab(**json.loads(json.dumps(lab.as_dict()))) == lab
    before = lab.exec("web2", ["supervisorctl", "pid"]).stdout
    lab.power_off("web1")
    assert up(LabSpec(name=lab.name, kind="processes", hosts=3), _told) == lab
    assert lab.running("web1") and lab.exec("web2", ["supervisorctl", "pid"]).stdout == before
    with pytest.raises(UsageError, match="is up, but with other options"):
        up(LabSpec(name=lab.name, kind="processes", hosts=4), _told)


def test_two_labs_stand_side_by_side_and_one_leaves_nothing(lab: Lab, lab_name: str) -> None:
    other = up(LabSpec(name=lab_name, kind="processes", hosts=1), _told)
    assert not {entry["host"] for entry in other.hosts.values()} & {entry["host"] for entry in lab.hosts.values()}
    assert len(processes_with(other.folder)) >= 4
    down(lab_name, _told)
    assert processes_with(other.folder) == [] and not Path(other.folder).exists()
    assert status(lab_name) is None and lab_name not in names()
    assert ssh(lab.hosts["web1"], "true").returncode == 0
    down(lab_name, _told)


@pytest.mark.parametrize("host", ["web1", pytest.param("web9", marks=pytest.mark.more)])
def test_an_up_that_was_killed_half_way_can_be_taken_down(lab_name: str, host: str) -> None:
    script = f"from deployer.lab import *; up(LabSpec(name={lab_name!r}, kind='processes', hosts=30), print)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL) as coming_up:
        folder = status_folder(lab_name)
        assert wait_until(lambda: (folder / f"hosts/{host}/sshd.pid").exists(), within=30, every=0.005)
        coming_up.send_signal(signal.SIGKILL)
    assert processes_with(str(folder)) and status(lab_name) is None
    down(lab_name, _told)
    assert processes_with(str(folder)) == [] and list(folder.parent.glob(f"*{lab_name}*")) == []


def test_a_person_who_looks_around_in_a_host_survives_its_end(lab: Lab) -> None:
    host = Path(lab.folder) / "hosts/web2"
    script = f"import os, pty; pid, fd = pty.fork(); os.chdir({str(host)!r}) if pid == 0 else None\n"
    script += textwrap.dedent("""\
        if pid == 0:
            os.execvp("sh", ["sh", "-c", "echo here; read line; echo still $line"])
        print(os.read(fd, 99).decode().strip(), flush=True)
        input()
        os.write(fd, b"alive\\n")
        text = b""
        while b"still" not in text:
            text += os.read(fd, 99)
        print(text.decode().split()[-2:], flush=True)
    """)
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as person:
        assert person.stdin and person.stdout
        assert person.stdout.readline() == "here\n"
        lab.power_off("web2")
        person.stdin.write("\n")
        person.stdin.flush()
        assert person.stdout.readline() == "['still', 'alive']\n"
    lab.power_on("web2")


def test_what_makes_no_sense_is_refused_with_a_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mistakes: tuple[dict[str, Any], ...] = (
        {"name": "../x"},
        {"name": ""},
        {"hosts": 0},
        {"hosts": 500},
        {"reserve": ("a b",)},
        {"suite": "sid"},
    )
    for wrong in mistakes:
        with pytest.raises(UsageError):
            LabSpec(**wrong)
    with pytest.raises(UsageError, match="no systemd"):
        LabSpec(kind="processes", supervisor="systemd")
    with pytest.raises(UsageError, match="this machine's own system"):
        LabSpec(kind="processes", suite="trixie")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("long" * 20)))
    with pytest.raises(UsageError, match="cannot be used: at most 66 characters"):
        up(LabSpec(name="lab", kind="processes"), _told)
    assert not (tmp_path / ("long" * 20) / "deployer/lab/lab").exists()


def status_folder(name: str) -> Path:
    """Where a lab's folder is, or will be."""
    return cache() / "lab" / name


def _say(session: subprocess.Popen[str], line: str) -> str:
    assert session.stdin and session.stdout
    session.stdin.write(f"{line}\n")
    session.stdin.flush()
    return session.stdout.readline()


def _get(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
