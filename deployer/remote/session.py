"""One host's agent, and a channel to it: requests out, answers and events in; see docs/protocol.md."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import secrets
import socket
import threading
from collections.abc import Mapping
from typing import Any, Self

import paramiko

from deployer.agent.channel import protocol
from deployer.errors import DeployError, UnreachableError
from deployer.inventory.model import Host
from deployer.remote.bundle import bundle
from deployer.remote.command_line import command_line, escalation
from deployer.remote.errors import AgentError, SessionLost
from deployer.remote.handshake import Handshake
from deployer.remote.heartbeat import Heartbeat
from deployer.remote.messages.deadlines import deadline_s
from deployer.remote.messages.frames import checked
from deployer.remote.messages.responses import (
    UnexpectedResponse,
    require_expected,
    require_expected_detail,
    require_expected_event,
)
from deployer.remote.pending import Body, OnEvent, Pending
from deployer.remote.ssh.connection import Connection, closed_after
from deployer.remote.ssh.dialer import Dialer

_START = 30.0  # seconds for the agent to answer
LONGEST_START_S = 2 * _START
"""Seconds for the channel, the agent's first line and its welcome together, however slow each of them is."""
_GOODBYE = 5.0  # seconds for the agent to end after a goodbye
_OVERDUE_HINT = "look at that host (load, disks, dmesg), then type deploy {command} {env}"


class Session:
    """An agent that runs on `host`. Thread-safe. Made by `Session.open`.

    `info` is the agent's description of itself: `pid`, `uid`, `python`, `version`.
    """

    def __init__(
        self, host: Host, connection: Connection, channel: Any, rest: bytes, heart: Heartbeat, own: bool
    ) -> None:
        self.host = host
        self.connection = connection
        self.info: dict[str, Any] = {}
        self.noise: list[str] = []
        self._channel = channel
        self._heart, self._own_heart = heart, own
        self._decoder = protocol.Decoder(channel.recv, rest)
        self._requests = 0
        self._pending: dict[int, Pending] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._lost: SessionLost | None = None
        self._closing = False
        self._welcome = threading.Event()
        self._beats = itertools.count(1)
        self._sent_at: dict[int, float] = {0: protocol.clock()}
        self._fresh_at = protocol.clock()
        self._patience = protocol.LEASE + protocol.GRACE

    @classmethod
    def open(
        cls,
        host: Host,
        *,
        dialer: Dialer | None = None,
        heart: Heartbeat | None = None,
        sudo_password: str | None = None,
        become: bool | None = None,
        identity: str | None = None,
        balancer: str = "none",
        lease: float = protocol.LEASE,
        grace: float = protocol.GRACE,
    ) -> Self:
        """Connect to `host` and start its agent.

        Args:
            dialer: shares keys, known hosts and gateways with other hosts.
            heart: keeps the lease; one of its own by default.
            sudo_password: the answer to sudo's prompt; the host's own (`become_password`) by default.
            become: whether the agent is to be root, over the inventory's own word; None for both: root where sudo
                gives it without a question or a password is there.
            identity: `user@machine` for locks and ledgers; this user by default.
            balancer: the kind of balancer that the agent has to drive.
            lease, grace: seconds the agent may act without hearing from us, and until it takes us for dead.

        Raises:
            UnreachableError, UntrustedHostError, NotReadyError (no Python, no sudo).
        """
        connection = (dialer or Dialer()).connect(host)
        own = heart is None
        try:
            with closed_after(LONGEST_START_S, connection, host.name):
                session = cls._start(host, connection, heart or Heartbeat(), own, sudo_password, become, balancer)
                session._greet(identity or f"{getpass.getuser()}@{socket.gethostname()}", lease, grace)
        except BaseException as error:
            connection.close()
            if isinstance(error, (SessionLost, OSError, EOFError, paramiko.SSHException)):
                raise _no_session(host, error) from error
            raise
        return session

    @classmethod
    def _start(
        cls,
        host: Host,
        connection: Connection,
        heart: Heartbeat,
        own: bool,
        sudo_password: str | None,
        become: bool | None,
        balancer: str,
    ) -> Self:
        token, how = secrets.token_hex(8), escalation(host, become)
        password = (sudo_password or host.become_password) if how != "no" else None
        marker = f"[sudo {token}] " if password else None
        data = bundle(balancer)
        channel = connection.transport.open_session(timeout=_START)
        channel.exec_command(command_line(host.python, token, len(data), how, marker))
        greeting = Handshake(host.name, channel, token, host.python, marker, password)
        rest = greeting.wait(_START, lambda: channel.sendall(memoryview(data)))
        return cls(host, connection, channel, rest, heart, own)

    def _greet(self, identity: str, lease: float, grace: float) -> None:
        self._patience = lease + grace
        self._fresh_at = self._sent_at[0] = protocol.clock()
        hello = {"t": "hello", "version": protocol.VERSION, "n": 0, "lease": lease, "grace": grace}
        self.send({**hello, "identity": identity})
        threading.Thread(target=self._read_all, name=f"session-{self.host.name}", daemon=True).start()
        threading.Thread(target=self._drain_stderr, name=f"stderr-{self.host.name}", daemon=True).start()
        self._heart.add(self)
        if not self._welcome.wait(_START):
            self._lose("the agent did not answer")
        if self._lost is not None:
            raise self._lost

    # -- requests ---------------------------------------------------------------------------------------------------

    def request(
        self,
        op: str,
        args: Mapping[str, object] | None = None,
        body: Body | None = None,
        on_event: OnEvent | None = None,
        lane: str = "main",
    ) -> Pending:
        """Send a request, and return at once; many may be under way.

        Args:
            op: the operation's name (docs/operations.md).
            args: its arguments, JSON values.
            body: bytes that go with it; an iterable is read in a thread of its own.
            on_event: takes the operation's events, in the reading thread.
            lane: `main`: after all requests before it; `side`: at once, beside the others.

        Raises:
            SessionLost.
        """
        deadline = deadline_s(op, args or {})
        with self._lock:
            if self._lost is not None:
                raise self._lost
            self._requests += 1
            pending = Pending(self._requests, op, self, on_event, lane, deadline, args or {})
            self._pending[pending.number] = pending
        head = {"t": "request", "id": pending.number, "op": op, "args": args or {}, "lane": lane}
        try:
            self.send({**head, "body": True} if body is not None else head)
        except (protocol.ProtocolError, TypeError, ValueError):  # it cannot be a frame, so no answer will come
            self._forget(pending.number)
            raise
        if body is not None:
            threading.Thread(target=pending.send_body, args=(body,), name=f"body-{self.host.name}", daemon=True).start()
        return pending

    def call(
        self,
        op: str,
        args: Mapping[str, object] | None = None,
        *,
        body: Body | None = None,
        on_event: OnEvent | None = None,
        lane: str = "main",
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """`request` and its result. After `timeout` seconds the operation is cancelled: AgentError `timeout`.

        Raises AgentError, SessionLost.
        """
        return self.wait(self.request(op, args, body, on_event, lane), timeout)

    def wait(self, pending: Pending, timeout: float | None = None) -> dict[str, Any]:
        """Return the result of a request; cancels it after `timeout` seconds. Raises as `call`."""
        try:
            return pending.result(timeout)
        except TimeoutError:
            if pending.done():
                raise
            message = f"{pending.op} did not answer within {timeout:g} s"
            error = AgentError("timeout", message, host=self.host.name)
            self._forget(pending.number)
            pending.fail(error)
            self._cancel(pending.number)
            raise error from None

    def fresh_for(self) -> float:
        """Return seconds since the agent's lease was certainly renewed: since we sent the last heartbeat that it
        answered."""
        return protocol.clock() - self._fresh_at

    @property
    def lost(self) -> SessionLost | None:
        """What every request raises from now on; None while the link lives."""
        return self._lost

    @property
    def alive(self) -> bool:
        """Whether requests can be made."""
        return self._lost is None and not self._closing

    # -- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye: the agent ends the operation in hand, runs no winding-up, and exits. Never raises."""
        if self.alive:
            self._closing = True
            try:
                self.send({"t": "bye"})
                self._channel.status_event.wait(_GOODBYE)
            except DeployError:
                pass
        self._lose("the session was closed")

    def kill(self) -> None:
        """Cut the link without a goodbye, as a dying controller would."""
        self._lose("the session was killed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._lost is not None:
                return
            self._lost = SessionLost(why, host=self.host.name, hint="deploy status {env} shows the current state")
            pending, self._pending = list(self._pending.values()), {}
        self._heart.remove(self)
        if self._own_heart:
            self._heart.stop()
        self._welcome.set()
        for one in pending:
            one.fail(self._lost)
        threading.Thread(target=self.connection.close, daemon=True).start()

    # -- frames -----------------------------------------------------------------------------------------------------

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame. Raises SessionLost."""
        data = protocol.encode(head, body)
        try:
            with self._writing:
                self._channel.sendall(memoryview(data))
        except (OSError, EOFError) as error:
            self._lose(f"the connection is dead: {error}")
            raise self._lost or SessionLost("the session is closed", host=self.host.name) from None

    def beat(self) -> None:
        """Send a heartbeat, unless the link is busy: whatever is sent renews the lease too."""
        data_free = self._channel.out_window_size > 256
        if not data_free or not self._writing.acquire(blocking=False):
            return
        try:
            number = next(self._beats)
            self._sent_at[number] = protocol.clock()
            self._channel.sendall(protocol.encode({"t": "beat", "n": number}))
        except (OSError, EOFError) as error:
            why: str | None = f"the connection is dead: {error}"
        else:
            why = None
        finally:
            self._writing.release()
        if why:
            self._lose(why)

    def check(self) -> None:
        """Give the session up when the agent must have given us up, and single requests at their deadlines."""
        if self.fresh_for() > self._patience:
            self._lose(f"no message from the agent for {self._patience:.0f} s")
        for pending in self._take_overdue():
            why = f"{pending.op} did not answer within {pending.deadline:g} s, although the agent still runs"
            pending.fail(AgentError("timeout", why, _OVERDUE_HINT, host=self.host.name))
            # A full channel blocks a write, and the heart must go on.
            threading.Thread(target=self._cancel, args=(pending.number,), daemon=True).start()

    def _take_overdue(self) -> list[Pending]:
        """Return the requests that are past their deadlines, no longer pending.

        In the main lane only the first one counts.
        """
        now = protocol.clock()
        with self._lock:
            in_line = [pending for pending in self._pending.values() if pending.lane != "side"]
            beside = [pending for pending in self._pending.values() if pending.lane == "side"]
            overdue = [pending for pending in (*in_line[:1], *beside) if pending.overdue(now)]
            for pending in overdue:
                del self._pending[pending.number]
        return overdue

    def _forget(self, number: int) -> None:
        with self._lock:
            self._pending.pop(number, None)

    def _cancel(self, number: int) -> None:
        with contextlib.suppress(DeployError):
            self.send({"t": "cancel", "id": number})

    def _read_all(self) -> None:
        why = "the agent ended"
        try:
            while True:
                frame = self._decoder.next()
                if frame is None:
                    break
                self._take(frame)
        except protocol.ProtocolError as error:
            why = f"the host did not follow the agent's protocol: {error}"
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        self._lose(why)

    def _take(self, frame: protocol.Frame) -> None:
        frame = checked(frame)
        head, kind = frame.head, frame.kind
        if kind == "beat" or kind == "welcome":
            self._acknowledged(head["n"])
            if kind == "welcome":
                self.info = {name: value for name, value in head.items() if name not in ("t", "n")}
                self._welcome.set()
            return
        if kind == "noise":
            self.noise = [*self.noise[-99:], head["line"]]
            return
        ended = kind in ("result", "error")
        with self._lock:
            number = head["id"]
            if not 0 < number <= self._requests:
                raise protocol.ProtocolError(f"a frame {kind!r} answers request {number}, which was never sent")
            pending = self._pending.pop(number, None) if ended else self._pending.get(number)
        if pending is None:
            return
        if kind == "credit":
            pending.credit(head["bytes"])
            return
        try:
            self._answer(pending, kind, head)
        except UnexpectedResponse as error:
            self._forget(number)
            pending.fail(error)

    def _answer(self, pending: Pending, kind: str, head: dict[str, Any]) -> None:
        """Hand an event, a result or an error to its request. Raises UnexpectedResponse."""
        host, operation = self.host.name, pending.op
        if kind == "event":
            pending.event(require_expected_event(host, operation, head["event"]))
        elif kind == "result":
            pending.finish(require_expected(host, operation, pending.args, head["value"]))
        elif kind == "error":
            detail = require_expected_detail(host, operation, head["code"], head.get("detail") or {})
            hint = (head.get("hint") or "").replace("{host}", host)
            fields = (head["code"], head["message"], hint, head.get("log") or (), detail)
            pending.fail(AgentError(*fields, host=host))

    def _acknowledged(self, number: int) -> None:
        sent = self._sent_at.get(number)
        if sent is not None:
            self._fresh_at = max(self._fresh_at, sent)
            for older in [one for one in list(self._sent_at) if one <= number]:
                self._sent_at.pop(older, None)

    def _drain_stderr(self) -> None:
        """The agent diverts its stderr; what still comes is the interpreter's last words."""
        while True:
            data = self._channel.recv_stderr(1 << 16)
            if not data:
                return
            self.noise = [*self.noise[-99:], *data.decode("utf-8", "replace").splitlines()]


def _no_session(host: Host, error: BaseException) -> UnreachableError:
    """Return the login worked, but no channel or no agent came of it."""
    return UnreachableError(
        "the login works, but no program can be run",
        host=host.name,
        step="connect",
        cause=str(error) or type(error).__name__,
        hint="may this user run commands over SSH (ForceCommand, MaxSessions, a shell of nologin)?",
    )
