"""How an agent over a real sshd ends: told to, cut off, silenced, killed; and its controller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agents import PYTHON, at_work, running, until, words
from support.loopback import Proxy, Sshd

from deployer.inventory.model import Host
from deployer.remote import session as session_module
from deployer.remote.errors import SessionLost
from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("rehearsal")]


# -- the end ---------------------------------------------------------------------------------------------------------


def test_after_a_goodbye_only_the_end_is_run(sshd: Sshd, dialer: Dialer, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with Session.open(sshd.host(python=PYTHON), dialer=dialer) as agent:
        pid = agent.call("rehearsal.register", {"notes": str(notes)})["pid"]
    until(lambda: not running(pid))
    assert words(notes) == ["end"]
    with pytest.raises(SessionLost):
        agent.call("rehearsal.echo")


def test_a_cut_link_lets_the_operation_finish_and_winds_up(sshd: Sshd, dialer: Dialer, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    agent = Session.open(sshd.host(python=PYTHON), dialer=dialer)
    pid = agent.call("rehearsal.register", {"notes": str(notes)})["pid"]
    current = at_work(agent, seconds=0.5, notes=str(notes))
    queued = agent.request("rehearsal.work", {"seconds": 0, "notes": str(notes)})
    agent.call("rehearsal.echo", lane="side")
    agent.kill()
    for pending in (current, queued):
        with pytest.raises(SessionLost):
            pending.result(5)
    until(lambda: not running(pid))
    # No destructive act without a controller, nothing of the queue, every callback once and in order.
    assert words(notes) == ["worked", "lease_lost", "lost-1", "lost-2", "end"]


def test_packets_are_dropped_while_the_output_is_full(sshd: Sshd, dialer: Dialer, proxy: Proxy, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    host = sshd.host(python=PYTHON, port=proxy.port)
    agent = Session.open(host, dialer=dialer, lease=1.0, grace=1.0)
    pid = agent.call("rehearsal.register", {"notes": str(notes)})["pid"]
    before = proxy.passed  # the agent's own bundle has passed already
    pending = agent.request("rehearsal.flood", {"seconds": 6, "notes": str(notes)})
    until(lambda: proxy.passed > before + 100_000)
    proxy.swallow()
    dropped_at = time.time()
    with pytest.raises(SessionLost):
        pending.result(20)
    assert time.time() - dropped_at < 6
    until(lambda: not running(pid))
    told = {line.split()[0]: float(line.split()[2]) for line in notes.read_text().splitlines()}
    assert words(notes) == ["flooded", "lost-1", "lost-2", "end"]
    assert told["end"] - dropped_at < 10  # sshd itself stays ESTABLISHED for minutes


def test_silence_alone_ends_an_idle_agent_within_lease_and_grace(
    sshd: Sshd, dialer: Dialer, proxy: Proxy, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    agent = Session.open(sshd.host(python=PYTHON, port=proxy.port), dialer=dialer, lease=1.0, grace=0.5)
    pid = agent.call("rehearsal.register", {"notes": str(notes)})["pid"]
    proxy.swallow()
    began = time.monotonic()
    until(lambda: not running(pid))
    assert 0.4 < time.monotonic() - began < 5
    assert words(notes) == ["lost-1", "lost-2", "end"]
    until(lambda: not agent.alive)


def test_a_link_that_is_cut_in_an_upload_ends_the_upload(sshd: Sshd, dialer: Dialer, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    agent = Session.open(sshd.host(python=PYTHON), dialer=dialer)
    pid = agent.call("rehearsal.register", {"notes": str(notes)})["pid"]
    more = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"x" * 100
        more.wait(30)

    pending = agent.request("rehearsal.take", body=body())
    agent.call("rehearsal.echo", lane="side")
    agent.kill()
    with pytest.raises(SessionLost):
        pending.result(5)
    more.set()
    until(lambda: not running(pid))
    assert words(notes) == ["lost-1", "lost-2", "end"]


CONTROLLER = """
import sys, time
sys.path.insert(0, {root!r})
import json, zlib
from deployer.inventory.model import Host, SshOptions
from deployer.remote import session
from deployer.remote.ssh.dialer import Dialer
packed = open({packed!r}, "rb").read()
session.bundle = lambda *_: packed
host = Host("web1", SshOptions(**json.loads({options!r})), python={python!r}, become=False)
agent = session.Session.open(host, dialer=Dialer(config_file={config!r}))
print(agent.call("rehearsal.register", {{"notes": {notes!r}}})["pid"], flush=True)
time.sleep(600)
"""


def test_the_controller_is_killed(sshd: Sshd, tmp_path: Path) -> None:
    notes, packed = tmp_path / "notes", tmp_path / "bundle"
    packed.write_bytes(session_module.bundle())  # type: ignore[attr-defined]  # the one that the fixture puts there
    host: Host = sshd.host()
    options = {
        "hostname": host.ssh.hostname,
        "user": host.ssh.user,
        "port": host.ssh.port,
        "keys": list(host.ssh.keys),
        "known_hosts": list(host.ssh.known_hosts),
    }
    script = CONTROLLER.format(
        root=str(Path(__file__).parents[3]),
        packed=str(packed),
        options=json.dumps(options),
        python=PYTHON,
        config=str(sshd.config),
        notes=str(notes),
    )
    controller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    with controller, controller.stdout:
        pid = int(controller.stdout.readline())
        assert running(pid)
        controller.send_signal(signal.SIGKILL)
        began = time.monotonic()
        until(lambda: not running(pid))
    assert time.monotonic() - began < 5
    assert words(notes) == ["lost-1", "lost-2", "end"]


def test_an_agent_that_is_told_to_end_winds_up(agent: Session, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    pid = agent.call("rehearsal.register", {"notes": str(notes)})["pid"]
    os.kill(pid, signal.SIGHUP)
    assert agent.call("rehearsal.echo", {"still": "here"}) == {"still": "here"}
    os.kill(pid, signal.SIGTERM)
    until(lambda: not running(pid))
    assert words(notes) == ["lost-1", "lost-2", "end"]


def test_a_killed_agent_is_noticed_at_once(agent: Session) -> None:
    pending = at_work(agent)
    os.kill(agent.info["pid"], signal.SIGKILL)
    with pytest.raises(SessionLost):
        pending.result(10)
    assert not agent.alive


def test_a_command_dies_with_its_controller(sshd: Sshd, dialer: Dialer, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    agent = Session.open(sshd.host(python=PYTHON), dialer=dialer)
    agent.request("command.run", {"command": f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; sleep 600"})
    pid = int(until(lambda: pid_file.exists() and pid_file.read_text()))
    agent.kill()
    until(lambda: not running(pid))


def test_freshness_is_counted_from_what_the_agent_answered(sshd: Sshd, dialer: Dialer, proxy: Proxy) -> None:
    agent = Session.open(sshd.host(python=PYTHON, port=proxy.port), dialer=dialer, lease=30.0)
    try:
        time.sleep(2.5)
        assert agent.fresh_for() < 2.0
        proxy.swallow()
        time.sleep(2.5)
        assert agent.fresh_for() > 2.4
    finally:
        agent.kill()
