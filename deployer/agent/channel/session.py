"""The agent's side of the channel: a reader that never waits, operations in order, and an end that never hangs.

Threads: the main one watches over the lease and ends the process; `reader` takes frames; `main-lane` runs operations
in order; a request for the side lane gets a thread of its own; `outbox` writes; `noise` forwards stray prints.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

from deployer.agent.channel import protocol, shutdown
from deployer.agent.channel.outbox import Outbox
from deployer.agent.channel.request_body import Body
from deployer.agent.operation import Context, OpError, call, longest_of

_TICK = 0.2  # seconds between looks at the lease
_FLUSH = 2.0  # seconds that a clean end waits for the last answers to be written
_SIDE_END = 5.0  # seconds that an end waits for side-lane operations, which change nothing
_SBIN = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Request:
    """One request: its operation, what it was given, and whether it is to stop."""

    def __init__(self, head: dict[str, Any], body: Body) -> None:
        self.id = int(head["id"])
        self.op = str(head["op"])
        self.args: dict[str, Any] = head.get("args") or {}
        self.side = head.get("lane") == "side"
        self.body = body
        self.cancelled = threading.Event()


class Session:
    """One controller's session with this agent.

    Args:
        incoming: where frames come from.
        outbox: where frames go.
    """

    def __init__(self, incoming: BinaryIO, outbox: Outbox) -> None:
        receive = getattr(incoming, "read1", incoming.read)
        self._decoder = protocol.Decoder(receive)
        self._outbox = outbox
        self._lease = protocol.Lease()
        self._identity = ""
        self._open: dict[int, Request] = {}
        self._lock = threading.Lock()
        self._queue: queue.Queue[Request | None] = queue.Queue()
        self._side: list[threading.Thread] = []
        self._wake = threading.Event()
        self._why_lost = ""
        self._lost = threading.Event()
        self._bye = False
        self._in_hand: tuple[Request, float] | None = None

    def run(self) -> bool:
        """Serves until the controller says goodbye or is lost, and winds up. True after a goodbye."""
        reader = threading.Thread(target=self._read_all, name="reader", daemon=True)
        lane = threading.Thread(target=self._work, name="main-lane", daemon=True)
        reader.start()
        lane.start()
        while not self._over():
            self._wake.wait(_TICK)
        lost = not self._bye
        if lost:
            self._lost.set()
            self._outbox.give_up()
            shutdown.the_end.notice(self._left_in_hand())
        self._drop_queued(lost)
        lane.join()
        for thread in self._side:
            thread.join(_SIDE_END)
        shutdown.the_end.finish(lost)
        if not lost:
            self._outbox.flush(_FLUSH)
        return not lost

    def lose(self, why: str) -> None:
        """Takes the controller for lost."""
        self.told_to_end(why)
        self._wake.set()

    def told_to_end(self, why: str) -> None:
        """The same from a signal handler, where taking a lock could wait for ever."""
        self._why_lost = self._why_lost or why

    def _over(self) -> bool:
        if self._outbox.lost.is_set():
            self.lose("the channel is closed")
        elif self._lease.given_up():
            self.lose("the controller was not heard of for %.0f s" % (self._lease.seconds + self._lease.grace))
        return self._bye or bool(self._why_lost)

    def _left_in_hand(self) -> float:
        """Seconds that the operation of the main lane may still take."""
        if self._in_hand is None:
            return 0.0
        request, began = self._in_hand
        return max(0.0, began + longest_of(request.op, request.args) - protocol.clock())

    def _drop_queued(self, lost: bool) -> None:
        """Lets the current operation of the main lane finish; everything else is told to stop."""
        with self._lock:
            waiting = list(self._open.values())
        for request in waiting:
            request.body.fail(self._why_lost or "the controller said goodbye")
            if request.side or not lost:
                request.cancelled.set()
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._queue.put(None)

    # -- the reader -------------------------------------------------------------------------------------------------

    def _read_all(self) -> None:
        try:
            while not self._why_lost:
                frame = self._decoder.next()
                if frame is None:
                    self.lose("the connection was closed")
                    return
                self._lease.renew()
                self._take(frame)
                if self._bye:
                    self._wake.set()
                    return
        except Exception as error:
            self.lose(f"{type(error).__name__}: {error}")

    def _take(self, frame: protocol.Frame) -> None:
        head = frame.head
        if frame.kind == "beat":
            self._outbox.send({"t": "beat", "n": head.get("n")}, urgent=True)
        elif frame.kind == "data":
            request = self._open.get(int(head["id"]))
            if request is not None:  # else the operation ended without reading all of its body
                request.body.feed(frame.body, bool(head.get("last")))
        elif frame.kind == "request":
            self._accept(head)
        elif frame.kind == "cancel":
            self._cancel(head.get("id"))
        elif frame.kind == "hello":
            self._greet(head)
        elif frame.kind == "bye":
            self._bye = True

    def _greet(self, head: dict[str, Any]) -> None:
        self._lease.seconds = float(head.get("lease", protocol.LEASE))
        self._lease.grace = float(head.get("grace", protocol.GRACE))
        self._identity = str(head.get("identity", ""))
        about = {"pid": os.getpid(), "uid": os.geteuid(), "python": "%d.%d.%d" % sys.version_info[:3]}
        self._outbox.send({"t": "welcome", "version": protocol.VERSION, "n": head.get("n"), **about})

    def _accept(self, head: dict[str, Any]) -> None:
        number = int(head["id"])
        body = Body(lambda count: self._outbox.send({"t": "credit", "id": number, "bytes": count}))
        request = Request(head, body)
        if not head.get("body"):
            body.feed(b"", last=True)
        with self._lock:
            self._open[number] = request
        if not request.side:
            self._queue.put(request)
            return
        thread = threading.Thread(target=self._answer, args=(request,), name="side-%d" % number, daemon=True)
        self._side = [earlier_thread for earlier_thread in self._side if earlier_thread.is_alive()] + [thread]
        thread.start()

    def _cancel(self, number: int | None) -> None:
        with self._lock:
            requests = [request for request in self._open.values() if number is None or request.id == number]
        for request in requests:
            request.cancelled.set()
            request.body.fail("cancelled")

    # -- the lanes --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            request = self._queue.get()
            if request is None:
                return
            if request.cancelled.is_set():
                self._close(request, OpError("cancelled", f"{request.op} was cancelled before it began").as_dict())
            else:
                self._in_hand = request, protocol.clock()
                self._answer(request)
                self._in_hand = None

    def _answer(self, request: Request) -> None:
        context = Context(
            emit=lambda event: self._outbox.offer({"t": "event", "id": request.id, "event": event}),
            body=iter(request.body),
            lease_left=self._lease_left,
            cancelled=request.cancelled,
            identity=self._identity,
            lost=self._lost,
        )
        try:
            value = call(request.op, context, request.args)
            self._send_result(request, value)
        except OpError as error:
            self._close(request, error.as_dict())
        except BaseException as error:
            self._close(request, _fault(request.op, error))

    def _lease_left(self) -> float:
        return -1.0 if self._why_lost else self._lease.left()

    def _send_result(self, request: Request, value: dict[str, Any]) -> None:
        self._outbox.send({"t": "result", "id": request.id, "value": value})
        self._forget(request)

    def _close(self, request: Request, error: dict[str, Any]) -> None:
        self._outbox.send({"t": "error", "id": request.id, **error})
        self._forget(request)

    def _forget(self, request: Request) -> None:
        with self._lock:
            self._open.pop(request.id, None)


def _fault(op: str, error: BaseException) -> dict[str, Any]:
    """An operation's own fault as an error for the controller: one sentence, and the traceback as its log."""
    import traceback

    from deployer.agent.system import disk

    known = disk.explain(error, op) if isinstance(error, OSError) else None
    if known is not None:
        return known.as_dict()
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    log = [line for text in lines for line in text.rstrip().splitlines()][-30:]
    message = str(error)[:500]
    return {
        "code": "internal",
        "message": f"{op} failed: {type(error).__name__}{': ' + message if message else ''}",
        "hint": "",
        "log": log,
        "detail": {},
    }


def serve(incoming: BinaryIO) -> None:
    """Serves the controller that sends on `incoming` and reads fd 1, then ends the process. Never returns."""
    outbox = Outbox(os.dup(1))
    _divert_prints(outbox)
    _make_calm()
    session = Session(incoming, outbox)
    # Handlers, not SIG_IGN: what we start would inherit that.
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: session.told_to_end("the agent has to end"))
    outbox.start()
    status = 1
    try:
        status = 0 if session.run() else 1
    finally:
        os._exit(status)  # not sys.exit: a thread may hang in a write to the channel for ever


def _divert_prints(outbox: Outbox) -> None:
    """Points fds 1 and 2 at a pipe of our own, so that no print breaks a frame and none ever blocks."""
    out, into = os.pipe()
    os.dup2(into, 1)
    os.dup2(into, 2)
    os.close(into)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)

    def forward() -> None:
        with os.fdopen(out, "rb") as lines:
            while True:
                line = lines.readline(1 << 14)
                if not line:
                    return
                outbox.offer({"t": "noise", "line": line.decode("utf-8", "replace").rstrip()})

    threading.Thread(target=forward, name="noise", daemon=True).start()


def _make_calm() -> None:
    """Sets what operations rely on: `/` as folder, 022 as umask, the sbin folders in PATH."""
    os.chdir("/")
    os.umask(0o022)
    path = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join(
        [folder for folder in path if folder] + [folder for folder in _SBIN if folder not in path]
    )
