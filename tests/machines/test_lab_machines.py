"""Labs of machines: real systemd hosts, and nothing left of them afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.labs import processes_with, ssh, ssh_argv

from deployer.errors import DeployError, NotReadyError, UsageError
from deployer.inventory.load import load
from deployer.lab import Lab, LabSpec, borrowed, down, names, status, up
from deployer.lab.commands import run, wait_until
from deployer.lab.place import Place

pytestmark = pytest.mark.machines


NOTHING: dict[str, list[str]] = {
    kind: [] for kind in ("mounts", "links", "rules", "cgroups", "runtime", "files", "processes")
}


def _told(line: str) -> None:
    assert line and "\n" not in line


def test_every_host_is_a_healthy_systemd_that_opens_to_the_labs_key(lab: Lab) -> None:
    assert list(lab.hosts) == ["web1", "web2", "web3", "lb1"]
    machine_ids = set()
    for name, entry in lab.hosts.items():
        seen = ssh(
            entry, "hostname; cat /etc/machine-id; systemctl is-system-running --wait; systemctl --failed --no-legend"
        )
        hostname, machine_id, state = seen.stdout.splitlines()
        assert (hostname, state) == (name, "running")
        machine_ids.add(machine_id)
    assert len(machine_ids) == 4


def test_users_become_root_by_sudo_with_and_without_a_password(lab: Lab) -> None:
    entry = lab.hosts["web1"]
    assert ssh(entry, "sudo -n id -un", user="deploy").stdout == "root\n"
    assert ssh(entry, "sudo -n id -un", user="plain").returncode != 0
    password = (Path(lab.folder) / "plain.password").read_text()
    assert ssh(entry, "sudo -S -p '' id -un", user="plain", text_in=password).stdout == "root\n"
    assert ssh(entry, "sudo -S -p '' id -un", user="plain", text_in="wrong\n").returncode != 0


def test_an_impostor_is_noticed(lab: Lab, tmp_path: Path) -> None:
    known = Path(lab.hosts["web1"]["known_hosts"]).read_text().splitlines()
    (tmp_path / "known_hosts").write_text(f"{known[0].split()[0]} {' '.join(known[1].split()[1:])}\n")
    noticed = ssh({**lab.hosts["web1"], "known_hosts": str(tmp_path / "known_hosts")}, "true")
    assert noticed.returncode == 255 and "HOST IDENTIFICATION HAS CHANGED" in noticed.stderr


def test_the_inventory_is_what_deploy_reads(lab: Lab) -> None:
    found = load(lab.name, Path(lab.folder), Path(lab.inventory))
    assert found.groups["web"] == ("web1", "web2", "web3") and found.groups["balancers"] == ("lb1",)
    assert found["web1"].ssh.hostname == lab.hosts["web1"]["host"] and found["web1"].prefix == ""
    assert found["web1"].variables["deploy_supervisor"] == "systemd"
    assert found["lb1"].variables["deploy_listen"] == ":80"
    assert lab.address == f"{lab.hosts['lb1']['host']}:80"


def test_haproxy_and_supervisor_wait_for_setup_and_can_be_switched_on(lab: Lab) -> None:
    entry = lab.hosts["lb1"]
    assert ssh(entry, "systemctl is-enabled haproxy supervisor").stdout == "disabled\ndisabled\n"
    assert ssh(entry, "systemctl is-active haproxy supervisor").stdout == "inactive\ninactive\n"
    try:
        assert (
            ssh(entry, "systemctl start haproxy supervisor && systemctl is-active haproxy supervisor").returncode == 0
        )
    finally:
        ssh(entry, "systemctl stop haproxy supervisor")


@pytest.mark.more
def test_a_host_installs_python_and_debian_packages(lab: Lab) -> None:
    entry = lab.hosts["web2"]
    made = ssh(
        entry, "python3 -m venv /tmp/v && /tmp/v/bin/pip install -q h11 && /tmp/v/bin/python -c 'import h11; print(1)'"
    )
    assert made.stdout == "1\n", made.stderr
    installed = ssh(entry, "apt-get install -y -q tree >/dev/null && tree --version", timeout=200)
    assert installed.stdout.startswith("tree v"), installed.stderr


@pytest.mark.more
def test_files_are_made_as_fast_in_srv_as_here(lab: Lab) -> None:
    """/srv must be no overlay: it is this machine's own file system, so links between its folders work too."""
    made = lab.exec("web1", ["sh", "-c", "stat -f -c %T /srv; echo seen > /srv/seen; ln /srv/seen /srv/linked"])
    assert made.returncode == 0 and "overlay" not in made.stdout
    assert (Path(lab.folder) / "hosts/web1/srv/linked").read_text() == "seen\n"


def test_pulling_the_plug_is_sudden_and_the_disk_stays(lab: Lab) -> None:
    entry = lab.hosts["web3"]
    ssh(entry, "echo kept > /etc/kept; echo kept > /srv/kept")
    with subprocess.Popen(ssh_argv(entry, "sleep 3600"), stdin=subprocess.DEVNULL) as session:
        assert wait_until(lambda: "sleep 3600" in lab.exec("web3", ["ps", "-eo", "args"]).stdout, within=20)
        lab.power_off("web3")
        assert not lab.running("web3") and session.poll() is None  # nobody told the client
        assert ssh(entry, "true").returncode == 255
        with pytest.raises(DeployError, match=r"web3 of the lab .* is off"):
            lab.exec("web3", ["true"])
        session.kill()
    lab.power_on("web3")
    assert ssh(entry, "cat /etc/kept /srv/kept").stdout == "kept\nkept\n"
    assert ssh(entry, "systemctl is-system-running --wait").stdout == "running\n"


def test_a_host_that_reboots_comes_back(lab: Lab) -> None:
    entry = lab.hosts["web3"]
    ssh(entry, "touch /run/before")
    ssh(entry, "systemctl reboot")
    assert wait_until(lambda: ssh(entry, "test ! -e /run/before").returncode == 0, within=60, every=0.3)


def test_a_cut_link_is_silent_while_http_goes_on_and_mends(lab: Lab) -> None:
    entry = lab.hosts["web1"]
    lab.exec("web1", ["systemd-run", "--unit=page", "python3", "-m", "http.server", "8000"])
    argv = ssh_argv(entry, "while read -r line; do echo heard $line; done")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin and session.stdout
        try:
            session.stdin.write("one\n")
            session.stdin.flush()
            assert session.stdout.readline() == "heard one\n"
            assert wait_until(lambda: _listens(entry["host"], 8000), within=20)
            lab.cut("web1")
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                socket.create_connection((entry["host"], 22), timeout=1.5)
            assert time.monotonic() - started >= 1.5  # neither refused nor reset
            session.stdin.write("two\n")
            session.stdin.flush()
            assert _listens(entry["host"], 8000) and session.poll() is None
        finally:
            lab.mend("web1")
            lab.exec("web1", ["systemctl", "stop", "page"])
        assert session.stdout.readline() == "heard two\n"
        session.stdin.close()


def test_up_again_only_switches_on_what_is_off(lab: Lab) -> None:
    assert status(lab.name) == lab and lab.name in names()
    boot = lab.exec("web2", ["systemctl", "show", "-p", "UserspaceTimestampMonotonic"]).stdout
    lab.power_off("web1")
    assert up(LabSpec(name=lab.name, kind="machines", hosts=3), _told) == lab
    assert lab.running("web1")
    assert lab.exec("web2", ["systemctl", "show", "-p", "UserspaceTimestampMonotonic"]).stdout == boot
    with pytest.raises(UsageError, match="is up, but with other options"):
        up(LabSpec(name=lab.name, kind="machines", hosts=4), _told)


@pytest.mark.more
def test_two_labs_stand_side_by_side_and_one_leaves_nothing(lab: Lab, lab_name: str) -> None:
    spec = LabSpec(name=lab_name, hosts=1, supervisor="supervisord", kill_user_processes=True)
    other = up(spec, _told)
    subnets = {entry["host"].rpartition(".")[0] for found in (lab, other) for entry in found.hosts.values()}
    assert len(subnets) == 2
    assert "supervisord" in Path(other.inventory).read_text()
    killing = ["busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1"]
    killing += ["org.freedesktop.login1.Manager", "KillUserProcesses"]
    assert other.exec("web1", killing).stdout == "b true\n" and lab.exec("web1", killing).stdout == "b false\n"
    other.cut("web1")
    session = subprocess.Popen(ssh_argv(other.hosts["lb1"], "sleep 3600"), stdin=subprocess.DEVNULL)
    assert wait_until(lambda: "sleep 3600" in other.exec("lb1", ["ps", "-eo", "args"]).stdout, within=20)
    assert {kind for kind, found in traces(lab_name).items() if found} == set(NOTHING)

    down(lab_name, _told)
    session.kill()  # it never heard of the end of its host
    session.wait()
    assert traces(lab_name) == NOTHING
    assert status(lab_name) is None and lab_name not in names()
    assert ssh(lab.hosts["web1"], "true").returncode == 0
    down(lab_name, _told)


@pytest.mark.parametrize("seconds", [0.15, *(pytest.param(seconds, marks=pytest.mark.more) for seconds in (0.0, 0.6))])
def test_an_up_that_was_killed_half_way_can_be_taken_down(lab_name: str, seconds: float) -> None:
    script = f"from deployer.lab import *; up(LabSpec(name={lab_name!r}, hosts=6), print)"
    folder = Place.of(lab_name).folder
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL) as coming_up:
        assert wait_until((folder / "hosts/web1/root").exists, within=200, every=0.005)
        wait_until(lambda: coming_up.poll() is not None, within=seconds)
        coming_up.send_signal(signal.SIGKILL)
    assert any(traces(lab_name).values()) and status(lab_name) is None
    down(lab_name, _told)
    assert traces(lab_name) == NOTHING


@pytest.mark.more
def test_the_last_lab_puts_the_kernel_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    monkeypatch.setattr(borrowed, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(borrowed, "LOCK", tmp_path / "record.lock")
    setting = Path("/proc/sys/fs/inotify/max_queued_events")  # one that labs do not touch
    before = int(setting.read_text())
    borrowed.raise_kernel_limits("one", {"fs/inotify/max_queued_events": before + 1})
    borrowed.raise_kernel_limits("two", {"fs/inotify/max_queued_events": before + 2})
    borrowed.give_back("one")
    assert int(setting.read_text()) == before + 2
    borrowed.give_back("two")
    assert int(setting.read_text()) == before
    assert list(tmp_path.iterdir()) == []


def test_without_root_it_says_what_to_type() -> None:
    script = "from deployer.lab import *; up(LabSpec(), print)"
    nobody = "import os; os.geteuid() or os.setuid(65534)"
    catching = f"{nobody}\ntry: {script}\nexcept Exception as error: print(repr(error), error.hint)"
    imports = "import deployer.lab.lifecycle, encodings.idna; "
    said = subprocess.run([sys.executable, "-c", imports + catching], capture_output=True, text=True, check=False)
    assert "NotReadyError" in said.stdout and "sudo deploy lab up" in said.stdout, said.stderr
    assert NotReadyError.exit_status == 3


def traces(name: str) -> dict[str, list[str]]:
    """What there is of a lab anywhere on this machine, by kind."""
    place = Place.of(name)
    links = [line.replace(f"vb-{place.tag[:5]}-", f"{place.tag}-") for line in run(["ip", "-o", "link"]).splitlines()]
    rules = [line for table in ("filter", "nat") for line in run(["iptables", "-w", "-t", table, "-S"]).splitlines()]
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup")]
    runtime = [path for path, _, _ in os.walk("/run")]
    marks = (place.tag, str(place.folder))
    found = {
        "mounts": Path("/proc/self/mountinfo").read_text().splitlines(),
        "links": links,
        "rules": rules,
        "cgroups": groups,
        "runtime": [path.replace(f"/{place.tag[:5]}-", f"/{place.tag}-") for path in runtime],
        "files": [str(path) for path in place.folder.parent.glob(f"*{name}*")],
    }
    kept = {
        kind: [line for line in lines if any(mark in line for mark in (*marks, name))] for kind, lines in found.items()
    }
    return kept | {"processes": processes_with(place.tag)}


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
