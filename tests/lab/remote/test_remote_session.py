"""An agent at work over a real sshd: what it answers, what it takes, and what it survives."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agents import PYTHON, at_work, until
from support.loopback import Sshd

from deployer.agent.model.messages.event import Event
from deployer.remote.errors import AgentError
from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("rehearsal")]


# -- at work ---------------------------------------------------------------------------------------------------------


def test_a_command_tells_its_status_and_both_streams(agent: Session) -> None:
    answer = agent.call("command.run", {"command": "echo out; echo err >&2; exit 3"})
    assert answer == {"exit": 3, "signal": None, "stdout": "out\n", "stderr": "err\n"}


def test_a_streamed_command_tells_its_lines_as_they_come(agent: Session) -> None:
    events: list[Event] = []
    first = threading.Event()

    def hear(event: Event) -> None:
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
    with pytest.raises(AgentError, match="the agent has no operation"):
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
    def listener(event: Event) -> None:
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
    # What else the machine does only adds to a time, so the least of several is the time that it takes.
    small, large = (min(seconds(size) for _ in range(3)) for size in (16 << 20, 128 << 20))
    # Copying the rest for every packet would cost 64 times as much.
    assert large < 24 * small


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
