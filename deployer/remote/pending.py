"""A request that is under way, and the sending of its body."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from deployer.agent.channel import protocol
from deployer.agent.model.messages.event import Event
from deployer.remote.messages.deadlines import BASE_S

OnEvent = Callable[[Event], None]
Body = bytes | bytearray | memoryview | Iterable[bytes]


class Sender(Protocol):
    """What a pending request needs of its session."""

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame. Raises SessionLost."""


class Pending:
    """A request that was sent; its answer comes with `result`.

    Events are given to `on_event` in the session's reading thread: it must be quick and must not wait for another
    answer of the same session. What it raises becomes the outcome of the request.

    `deadline` is how many seconds it may take, from the moment that nothing before it in its `lane` holds it up.
    """

    def __init__(
        self,
        number: int,
        op: str,
        sender: Sender,
        on_event: OnEvent | None,
        lane: str = "main",
        deadline: float = BASE_S,
        args: Mapping[str, Any] | None = None,
    ) -> None:
        self.number = number
        self.op = op
        self.args = args or {}
        self.lane = lane
        self.deadline = deadline
        self._sent = 0
        self._credited = 0
        self._ends_at: float | None = None
        self._sender = sender
        self._on_event = on_event
        self._future: Future[dict[str, Any]] = Future()
        self._window = protocol.WINDOW
        self._changed = threading.Condition()

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the operation's result. Raises AgentError, SessionLost; TimeoutError after `timeout` seconds."""
        return self._future.result(timeout)

    def done(self) -> bool:
        """Return whether it has ended, well or not."""
        return self._future.done()

    def cancel(self) -> None:
        """Ask the operation to stop; `result` has its outcome. A no-op when it has ended."""
        if not self.done():
            self._sender.send({"t": "cancel", "id": self.number})

    # -- for the session --------------------------------------------------------------------------------------------

    def overdue(self, now: float) -> bool:
        """Return whether the deadline has passed.

        The first call starts the clock; a body that moves on starts it anew.
        """
        with self._changed:
            if self._ends_at is None:
                self._ends_at = now + self.deadline
            return now > self._ends_at

    def event(self, event: Event) -> None:
        """Hand on an event of the operation."""
        if self._on_event is None or self.done():
            return
        try:
            self._on_event(event)
        except Exception as error:
            self.fail(error)

    def finish(self, value: dict[str, Any]) -> None:
        """The answer came."""
        self._end(lambda: self._future.set_result(value))

    def fail(self, error: BaseException) -> None:
        """An error came, or the link died."""
        self._end(lambda: self._future.set_exception(error))

    def credit(self, count: int) -> None:
        """The agent consumed `count` bytes of the body. Raises ProtocolError for more than were sent."""
        with self._changed:
            self._credited += count
            if self._credited > self._sent:
                raise protocol.ProtocolError(f"the agent took {self._credited} bytes of {self._sent}")
            self._ends_at = None
            self._window += count
            self._changed.notify_all()

    def send_body(self, body: Body) -> None:
        """Send the body in chunks, as the agent takes them; stop when the operation has ended."""
        try:
            for chunk in _chunks(body):
                if not self._reserve(len(chunk)):
                    return
                self._sender.send({"t": "data", "id": self.number}, chunk)
            self._sender.send({"t": "data", "id": self.number, "last": True})
        except BaseException as error:  # what the caller's iterable raised, or SessionLost
            self.cancel_quietly()
            self.fail(error)

    def cancel_quietly(self) -> None:
        """Cancel without minding a dead link."""
        try:
            self.cancel()
        except Exception:
            return

    def _reserve(self, count: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._window >= count or self.done())
            self._window -= count
            self._sent += count
            return not self.done()

    def _end(self, settle: Callable[[], None]) -> None:
        with self._changed:
            if not self._future.done():
                settle()
            self._changed.notify_all()


def _chunks(body: Body) -> Iterator[bytes]:
    pieces: Iterable[Any] = (body,) if isinstance(body, (bytes, bytearray, memoryview)) else body
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), protocol.CHUNK):
            yield bytes(view[start : start + protocol.CHUNK])
