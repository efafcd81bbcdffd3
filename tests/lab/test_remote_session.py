"""An agent at work over a real sshd: what it answers, what it survives, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.loopback import Proxy, Sshd

from deployer.inventory.model import Host
from deployer.remote import session as session_module
from deployer.remote.bundle import bundle
from deployer.remote.dialer import Dialer
from deployer.remote.errors import AgentError, SessionLost
from deployer.remote.pending import Pending
from deployer.remote.session import Session

pytestmark = pytest.mark.lab
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends the operations of rehearsal.py along with the agent."""
    sources = json.loads(zlib.decompress(bundle()))
    sources["rehearsal"] = (Path(__file__).parents[1] / "support" / "rehearsal.py").read_text()
    packed = zlib.compress(json.dumps(sources).encode())
    monkeypatch.setattr(session_module, "bundle", lambda: packed)


@pytest.fixture
def dialer(sshd: Sshd) -> Dialer:
    return Dialer(config_file=str(sshd.config))


@pytest.fixture
def agent(sshd: Sshd, dialer: Dialer) -> Iterator[Session]:
    with Session.open(sshd.host(python=PYTHON), dialer=dialer) as session:
        yield session


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    made = Proxy(sshd.port)
    sshd.pin(made.port)
    yield made
    made.close()
    sshd.pin()


def until(true: Callable[[], Any], within: float = 20.0) -> Any:
    """Waits for a condition; fails when it does not come."""
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        found = true()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come true")


def running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def at_work(agent: Session, **args: Any) -> Pending:
    """An operation that has begun and ends when it is cancelled."""
    begun = threading.Event()
    pending = agent.request("rehearsal.work", {"seconds": 600, **args}, on_event=lambda event: begun.set())
    assert begun.wait(20)
    return pending


def words(notes: Path) -> list[str]:
    return [line.split()[0] for line in notes.read_text().splitlines()] if notes.exists() else []


# -- at work ---------------------------------------------------------------------------------------------------------


def test_a_command_tells_its_status_and_both_streams(agent: Session) -> None:
    answer = agent.call("command.run", {"command": "echo out; echo err >&2; exit 3"})
    assert answer == {"exit": 3, "signal": None, "stdout": "out\n", "stderr": "err\n"}


def test_a_streamed_command_tells_its_lines_as_they_come(agent: Session) -> None:
    events: list[dict[str, Any]] = []
    first = threading.Event()

    def hear(event: dict[str, Any]) -> None:
        events.append(event)
        first.set()

    command = {"command": "echo one; read line; echo $line", "stream": True}
    release = threading.Event()

    def late() -> Iterator[bytes]:
        yield b"tw"
        release.wait(20)
        yield b"o\n"

    pending = agent.request("command.run", command, late(), hear)
    release.set()
    assert pending.result(20)["exit"] == 0
    assert [event["line"] for event in events] == ["one", "two"]


def test_an_operation_that_refuses_says_why(agent: Session) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("command.run", {"command": "sleep 60", "timeout": 0.2})
    assert (caught.value.code, caught.value.host) == ("timeout", "web1")


def test_a_fault_of_an_operation_comes_with_its_traceback_and_the_agent_lives_on(agent: Session) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("rehearsal.fault")
    assert caught.value.code == "internal"
    assert any("in fault" in line for line in caught.value.log)
    with pytest.raises(AgentError, match="not JSON serializable"):
        agent.call("rehearsal.fault", {"odd": True})
    with pytest.raises(AgentError, match="there is no operation"):
        agent.call("nothing.here")
    assert agent.call("rehearsal.echo", {"a": 1}) == {"a": 1}


def test_stray_prints_do_not_break_the_frames(agent: Session) -> None:
    assert agent.call("rehearsal.noise") == {"done": True}
    assert agent.call("rehearsal.echo", {"still": "here"}) == {"still": "here"}
    until(lambda: {"a stray print", "a stray child"} <= set(agent.noise))


def test_login_noise_is_skipped(tmp_path: Path) -> None:
    talker = tmp_path / "talker"
    talker.write_text(
        "#!/bin/sh\nyes 'Welcome to DEPLOY-AGENT ready 3.11' | head -5000\n"
        'echo careful >&2; printf unfinished; exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    talker.chmod(0o755)
    server = Sshd(tmp_path / "sshd", f"ForceCommand {talker}")
    try:
        with Session.open(server.host(python=PYTHON), dialer=Dialer(config_file=str(server.config))) as agent:
            assert agent.call("rehearsal.echo", {"a": 1}) == {"a": 1}
    finally:
        server.stop()


def test_requests_are_answered_in_order_without_waiting_for_each_other(agent: Session) -> None:
    pending = [agent.request("rehearsal.echo", {"n": number}) for number in range(200)]
    assert [one.result(20)["n"] for one in pending] == list(range(200))


def test_a_side_request_does_not_wait_for_the_main_lane(agent: Session) -> None:
    long = at_work(agent)
    assert agent.call("rehearsal.echo", {"beside": True}, lane="side", timeout=20) == {"beside": True}
    assert not long.done()
    long.cancel()
    assert long.result(20) == {"cancelled": True}


def test_what_waits_in_the_main_lane_can_be_cancelled_before_it_begins(agent: Session) -> None:
    first = at_work(agent)
    second = agent.request("rehearsal.echo", {})
    second.cancel()
    first.cancel()
    first.result(20)
    with pytest.raises(AgentError) as caught:
        second.result(20)
    assert caught.value.code == "cancelled"


def test_a_call_that_takes_too_long_is_cancelled(agent: Session) -> None:
    with pytest.raises(AgentError) as caught:
        agent.call("rehearsal.work", {"seconds": 600}, timeout=0.2)
    assert caught.value.code == "timeout"
    assert agent.call("rehearsal.echo", {}, timeout=20) == {}


def test_a_listener_that_fails_fails_its_own_request_alone(agent: Session) -> None:
    def listener(event: dict[str, Any]) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        agent.call("command.run", {"command": "echo x", "stream": True}, on_event=listener)
    assert agent.call("rehearsal.echo", {}) == {}


# -- bodies ----------------------------------------------------------------------------------------------------------


def test_a_large_body_costs_time_in_proportion_to_its_size(agent: Session) -> None:
    def seconds(size: int) -> float:
        began = time.monotonic()
        assert agent.call("rehearsal.take", body=bytes(size)) == {"size": size}
        return time.monotonic() - began

    seconds(1 << 20)
    small = min(seconds(16 << 20) for _ in range(3))
    # Copying the rest for every packet would cost 64 times as much.
    assert seconds(128 << 20) < 24 * small


def test_heartbeats_pass_a_body_that_the_operation_takes_slowly(agent: Session) -> None:
    pending = agent.request("rehearsal.take", {"pause": 0.03}, body=bytes(8 << 20))
    time.sleep(2.5)
    assert not pending.done()
    assert agent.fresh_for() < 2.0
    assert pending.result(30) == {"size": 8 << 20}


def test_an_operation_need_not_take_all_of_its_body(agent: Session) -> None:
    assert agent.call("rehearsal.take", {"bytes": 1}, body=bytes(64 << 20), timeout=20)["size"] >= 1
    assert agent.call("rehearsal.echo", {}, timeout=20) == {}


def test_a_body_that_fails_half_way_fails_the_request(agent: Session) -> None:
    def body() -> Iterator[bytes]:
        yield b"x"
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        agent.call("rehearsal.take", body=body(), timeout=20)
    assert agent.call("rehearsal.echo", {}, timeout=20) == {}


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
    pending = agent.request("rehearsal.flood", {"seconds": 6, "notes": str(notes)})
    until(lambda: proxy.passed > 100_000)
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
from deployer.remote.dialer import Dialer
packed = open({packed!r}, "rb").read()
session.bundle = lambda: packed
host = Host("web1", SshOptions(**json.loads({options!r})), python={python!r}, become=False)
agent = session.Session.open(host, dialer=Dialer(config_file={config!r}))
print(agent.call("rehearsal.register", {{"notes": {notes!r}}})["pid"], flush=True)
time.sleep(600)
"""


def test_the_controller_is_killed(sshd: Sshd, tmp_path: Path) -> None:
    notes, packed = tmp_path / "notes", tmp_path / "bundle"
    packed.write_bytes(session_module.bundle())
    host: Host = sshd.host()
    options = {
        "hostname": host.ssh.hostname,
        "user": host.ssh.user,
        "port": host.ssh.port,
        "keys": list(host.ssh.keys),
        "known_hosts": list(host.ssh.known_hosts),
    }
    script = CONTROLLER.format(
        root=str(Path(__file__).parents[2]),
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
