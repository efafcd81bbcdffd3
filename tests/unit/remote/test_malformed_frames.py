"""Whatever a host sends, every request ends: by its answer, with the session, or at its deadline."""

from __future__ import annotations

import json
import random
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from deployer.agent.channel import protocol
from deployer.inventory.model import Host, SshOptions
from deployer.remote.errors import AgentError, SessionLost
from deployer.remote.messages.deadlines import BASE_S, deadline_s
from deployer.remote.session import Session

REQUESTS = 4
STREAMS = 4000
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    99,
    1.5,
    1e308,
    10**30,
    "",
    "1",
    "\ud800",
    [],
    [1],
    {},
    {"a": 1},
    float("nan"),
)


class Channel:
    """A channel on which a host has sent `stream`; everything sent to the host is dropped."""

    out_window_size = 1 << 20

    def __init__(self, stream: bytes) -> None:
        self._stream = stream
        self.status_event = threading.Event()

    def recv(self, size: int) -> bytes:
        data, self._stream = self._stream[:size], self._stream[size:]
        return data

    def sendall(self, data: Any) -> None:
        return None


class Nothing:
    """A connection, and a heart, of which nothing is asked."""

    def close(self) -> None:
        return None

    def remove(self, session: object) -> None:
        return None


def session_on(stream: bytes) -> Session:
    connection: Any = Nothing()
    heart: Any = Nothing()
    return Session(Host("web1", SshOptions("192.0.2.1")), connection, Channel(stream), b"", heart, own=False)


def frames() -> list[dict[str, Any]]:
    """What a healthy agent sends for the requests of one session."""
    event = {"event": "output", "line": "a line"}
    return [
        {"t": "welcome", "n": 0, "pid": 1, "uid": 0, "python": "3.11.2", "version": 1},
        {"t": "beat", "n": 0},
        {"t": "noise", "line": "a print"},
        {"t": "event", "id": 1, "event": event, "dropped": 2},
        {"t": "result", "id": 1, "value": {"exit": 0, "signal": None, "stdout": "", "stderr": ""}},
        {"t": "event", "id": 2, "event": event},
        {"t": "error", "id": 2, "code": "x", "message": "m", "hint": "", "log": ["l"], "detail": {}},
        {"t": "error", "id": 3, "code": "x", "message": "m"},
        {"t": "result", "id": 4, "value": {"exit": 0, "signal": None, "stdout": "", "stderr": ""}},
    ]


def encoded(head: Any) -> bytes:
    text = json.dumps(head).encode()
    return struct.pack(">II", len(text), 0) + text


def mutated(seed: int) -> bytes:
    """Some of those frames, one or two of which are not what they should be."""
    chance = random.Random(seed)
    heads: list[Any] = [dict(head) for head in frames() if chance.random() < 0.8]
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(heads) + 1)
        head: Any = dict(chance.choice(frames()))
        kind = chance.randrange(5)
        if kind == 0:
            del head[chance.choice(list(head))]
        elif kind == 1:
            head[chance.choice(list(head))] = chance.choice(ODD)
        elif kind == 2:
            head = chance.choice(ODD)
        elif kind == 3 and isinstance(head.get("event"), dict):
            head["event"] = {"event": "output", "line": chance.choice(ODD)}
        else:
            head["t"] = chance.choice(["", "data", "request", "hello", "bye", 5, None])
        heads.insert(at, head)
    stream = bytearray(b"".join(map(encoded, heads)))
    for _ in range(chance.choice([0, 0, 1, 3])):
        if stream:
            stream[chance.randrange(len(stream))] = chance.randrange(256)
    return bytes(stream[: chance.randrange(len(stream) + 1)] if chance.random() < 0.2 else stream)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a session run at once, in the test's own thread: thousands of sessions take seconds."""

    class Now:
        def __init__(self, target: Any, args: Any = (), **_: object) -> None:
            self._run: Callable[[], object] = lambda: target(*args)

        def start(self) -> None:
            self._run()

    monkeypatch.setattr("deployer.remote.session.threading.Thread", Now)


def read(stream: bytes) -> tuple[Session, list[Any]]:
    """A session with requests that has read all that its host sent."""
    one = session_on(stream)
    pending = [one.request("command.run", {}, None, lambda event: None) for _ in range(REQUESTS)]
    one._read_all()
    return one, pending


@pytest.mark.usefixtures("no_threads")
def test_no_request_hangs_in_thousands_of_malformed_streams() -> None:
    answered, lost = 0, 0
    for seed in range(STREAMS):
        one, pending = read(mutated(seed))
        for request in pending:
            assert request.done(), f"seed {seed}: request {request.number} never ends"
            try:
                request.result(0)
                answered += 1
            except (AgentError, SessionLost) as error:
                assert error.host == "web1"
                str(error).encode()
                lost += isinstance(error, SessionLost)
        with pytest.raises(SessionLost):
            one.request("host.survey")
    assert answered > STREAMS / 8 and lost > STREAMS / 2, "both kinds of ends were tried"


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ({"t": "result", "id": 1}, "'result' has no valid 'value'"),
        ({"t": "result", "id": 1, "value": []}, "'result' has no valid 'value'"),
        ({"t": "result", "value": {}}, "'result' has no valid 'id'"),
        ({"t": "result", "id": True, "value": {}}, "'result' has no valid 'id'"),
        ({"t": "result", "id": 9, "value": {}}, "request 9, which was never sent"),
        ({"t": "error", "id": 1, "message": "m"}, "'error' has no valid 'code'"),
        ({"t": "error", "id": 1, "code": "c", "message": "m", "log": 5}, "'error' has no valid 'log'"),
        ({"t": "error", "id": 1, "code": "c", "message": "m", "log": [5]}, "'error' has no valid 'log'"),
        ({"t": "error", "id": 1, "code": "c", "message": "m", "detail": "d"}, "'error' has no valid 'detail'"),
        ({"t": "event", "id": 1, "event": "output"}, "'event' has no valid 'event'"),
        ({"t": "credit", "id": 1, "bytes": -5}, "'credit' has no valid 'bytes'"),
        ({"t": "credit", "id": 1, "bytes": 5}, "took 5 bytes of 0"),
        ({"t": "beat"}, "'beat' has no valid 'n'"),
        ({"t": "data", "id": 1}, "'data' is not a valid frame"),
        ([1], "not a JSON object"),
    ],
)
@pytest.mark.usefixtures("no_threads")
def test_a_malformed_frame_ends_the_session_with_one_error_that_names_the_host(head: Any, why: str) -> None:
    _, pending = read(encoded(head))
    for request in pending:
        with pytest.raises(SessionLost) as caught:
            request.result(0)
        assert caught.value.host == "web1" and why in caught.value.message, caught.value.message


@pytest.mark.usefixtures("no_threads")
def test_text_that_no_terminal_takes_is_replaced() -> None:
    _, (first, *_) = read(encoded({"t": "error", "id": 1, "code": "c", "message": "caf\udce9 ☕", "log": ["\ud800"]}))
    with pytest.raises(AgentError) as caught:
        first.result(0)
    assert (caught.value.message, caught.value.log) == ("caf? ☕", ("?",))


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(protocol, "clock", made)
    return made


def alive(one: Session, clock: Clock) -> None:
    """The agent has just answered a heartbeat."""
    one._fresh_at = clock.now


def outcome(request: Any) -> str:
    if not request.done():
        return "waits"
    with pytest.raises(AgentError) as caught:
        request.result(0)
    assert caught.value.host == "web1"
    return str(caught.value.code)


@pytest.mark.usefixtures("no_threads")
def test_an_agent_that_lives_and_never_answers_is_given_up_at_the_deadline(clock: Clock) -> None:
    one = session_on(b"")
    first, second = one.request("host.survey"), one.request("host.survey")
    beside = one.request("balancer.state", lane="side")
    one.check()
    clock.now += BASE_S - 1
    alive(one, clock)
    one.check()
    assert [outcome(request) for request in (first, second, beside)] == ["waits"] * 3
    clock.now += 2
    alive(one, clock)
    one.check()
    assert [outcome(request) for request in (first, second, beside)] == ["timeout", "waits", "timeout"], "in its lane"
    one.check()
    clock.now += BASE_S + 1
    alive(one, clock)
    one.check()
    assert outcome(second) == "timeout" and one.alive


@pytest.mark.usefixtures("no_threads")
def test_a_request_that_cannot_be_sent_holds_up_no_other(clock: Clock) -> None:
    one = session_on(b"")
    with pytest.raises(TypeError):
        one.request("host.survey", {"site": object()})
    one.request("host.survey")
    assert len(one._pending) == 1


def test_a_body_that_is_not_taken_is_given_up_at_the_deadline(clock: Clock) -> None:
    one = session_on(b"")
    request = one.request("release.fill", {}, bytes(2 * protocol.WINDOW))
    one.check()
    clock.now += BASE_S - 1
    request.credit(1)
    alive(one, clock)
    one.check()
    clock.now += BASE_S - 1
    alive(one, clock)
    one.check()
    assert not request.done(), "it moves on"
    clock.now += 2
    alive(one, clock)
    one.check()
    assert outcome(request) == "timeout"
    sender = next((thread for thread in threading.enumerate() if thread.name == "body-web1"), None)
    if sender is not None:
        sender.join(10)
        assert not sender.is_alive()


@pytest.mark.parametrize(
    ("operation", "args", "least"),
    [
        ("host.survey", {}, BASE_S),
        ("command.run", {}, 3600),
        ("command.run", {"timeout": 7200.0}, 7200),
        ("lock.take", {"wait": 600}, 600),
        ("hook.release", {"timeout": 5400}, 5400),
        ("hook.release", {}, 600),
        ("release.build", {"venv": {"timeout": 1800}, "prepare": {"timeout": 3600}, "check": {"timeout": 60}}, 5460),
        ("resource.apply", {"resources": []}, 1800 + 300),
        ("balancer.drain", {"timeout": 3600}, 3600),
        ("balancer.drain", {"servers": ["a"] * 20, "driver": {"timeout": 60}}, 20 * 3 * 60),
        ("instance.switch", {"instance": {"graceful": 600, "health": {"within": 300}}}, 2 * 600 + 2 * 300),
        ("processes.stop", {"process": {"graceful": 3600}}, 3600),
        ("host.survey", {"timeout": float("inf"), "wait": True, "within": "soon", "bound": -5}, BASE_S),
    ],
)
def test_a_deadline_is_longer_than_what_the_agent_may_take(operation: str, args: dict[str, Any], least: float) -> None:
    assert least <= deadline_s(operation, args) < 10 * least + 8000
