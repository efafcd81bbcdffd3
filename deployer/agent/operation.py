"""What an operation of the agent is: a function from a typed request to a typed response, found by its name.

    @operation(wire.PRUNE)
    def prune(ctx: Context, request: wire.Prune) -> wire.Pruned: ...

`agent.model.messages` has the types; `call` checks a request before the function sees it. `MODULES` says which module
holds the operations of a noun. It is imported when the first of them is called, so that a host compiles only what a run
uses. An operation that cannot do its work raises `OpError`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, TypeVar

from deployer.agent.model.shape import shape_of
from deployer.agent.model.typed import Operation

Q = TypeVar("Q")
R = TypeVar("R")
MALFORMED = "malformed_request"
"""The code of the error for a request of another shape than its operation takes."""

MODULES = {
    "adopting": "takeover.operations",
    "balancer": "balancer.operations",
    "belongings": "release.uninstall",
    "caddy": "balancer.caddy.driver",
    "command": "system.command",
    "domains": "balancer.domains",
    "figures": "balancer.statistics",
    "freeze": "site.freeze",
    "hook": "release.release_hook",
    "host": "survey",
    "instance": "instance.operations",
    "lock": "site.lock",
    "logs": "instance.logs",
    "maintenance": "balancer.maintenance",
    "processes": "instance.processes",
    "release": "release.operations",
    "repair": "dependencies.repair",
    "resource": "provisioning.operations",
    "schedules": "instance.schedules",
    "secrets": "site.secrets",
    "servers": "balancer.servers",
    "site": "site.operations",
    "tls": "balancer.certificates",
    "tool": "dependencies.tools",
    "venv": "dependencies.venv",
}
"""The part of an operation's name before the dot → the module of `deployer.agent` that registers it."""

_USUAL_LONGEST = 30.0  # seconds for an operation that does not say how long it may take


class _Registered(NamedTuple):
    spec: Operation[Any, Any]
    function: Callable[[Context, Any], Any]
    longest: Callable[[Any], float] | None


_operations: dict[str, _Registered] = {}


class OpError(Exception):
    """An operation failed, or refused, for a reason that a person can act on.

    Args:
        code: a stable word (`locked`, `port_taken`, `did_not_start` …).
        message: one sentence without a full stop: what, and why.
        hint: what to type or change next; `{env}` in it stands for the environment.
        log: the last lines of what died, oldest first.
        detail: plain data for the controller.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        log: list[str] | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.log = list(log or [])
        self.detail = dict(detail or {})

    def as_dict(self) -> dict[str, Any]:
        """The error as it crosses the channel."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "log": self.log,
            "detail": self.detail,
        }


class Context:
    """What an operation may use of the session that called it.

    Args:
        emit: takes an event (plain data with a key `event`) for the controller; never blocks, may drop under pressure.
        body: the chunks of the request's binary body, in order; empty when it has none.
        lease_left: seconds left of the lease; an operation without a controller has none to lose.
        cancelled: set when the controller asked to stop; long waits look at it.
        identity: who runs this, for locks and ledgers: `user@machine`.
        lost: set when the controller is lost; for what makes no sense without it (a command of `deploy exec`).
    """

    def __init__(
        self,
        emit: Callable[[dict[str, Any]], None] = lambda event: None,
        body: Iterator[bytes] | None = None,
        lease_left: Callable[[], float] = lambda: float("inf"),
        cancelled: threading.Event | None = None,
        identity: str = "",
        lost: threading.Event | None = None,
    ) -> None:
        self.emit = emit
        self.body: Iterator[bytes] = body if body is not None else iter(())
        self.lease_left = lease_left
        self.cancelled = cancelled or threading.Event()
        self.identity = identity
        self.lost = lost or threading.Event()

    def progress(self, message: str, **data: Any) -> None:
        """Tells the controller how far the operation has come."""
        self.emit({"event": "progress", "message": message, **data})

    def output(self, line: str, step: str = "") -> None:
        """Hands on one line that a command printed. `step` names a part of the operation with output of its own."""
        self.emit({"event": "output", "line": line, **({"step": step} if step else {})})

    def require_lease(self, act: str) -> None:
        """Raises OpError `lease_lost` when the controller has not been heard of within the lease.

        Called directly before every destructive act; `act` names it.
        """
        if self.lease_left() <= 0:
            raise OpError("lease_lost", "the controller was not heard of within the lease, so did not " + act)

    def read_body(self, limit: int = 64 << 20) -> bytes:
        """The whole body, at most `limit` bytes; OpError `too_large` beyond that."""
        chunks: list[bytes] = []
        size = 0
        for chunk in self.body:
            size += len(chunk)
            if size > limit:
                raise OpError("too_large", "the body is larger than %d bytes" % limit)
            chunks.append(chunk)
        return b"".join(chunks)


def operation(
    spec: Operation[Q, R], longest: Callable[[Q], float] | None = None
) -> Callable[[Callable[[Context, Q], R]], Callable[[Context, Q], R]]:
    """Registers a function as that operation.

    `longest` says how many seconds it may take at most with a request.
    """

    def register(function: Callable[[Context, Q], R]) -> Callable[[Context, Q], R]:
        _operations[spec.name] = _Registered(spec, function, longest)
        return function

    return register


def call(name: str, ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Checks a request and carries it out.

    Raises:
        OpError `unknown_operation`; `malformed_request`, which says what is wrong where; what the operation raises.
    """
    registered = _find(name)
    wrong = shape_of(registered.spec.request)(args, "")
    if wrong:
        raise OpError(MALFORMED, f"the request for {name} is malformed: {wrong}")
    response: dict[str, Any] = registered.function(ctx, args)
    return response


def longest_of(name: str, args: dict[str, Any]) -> float:
    """Seconds that the operation may take at most; 30 where it does not say, or is refused at once."""
    known = _operations.get(name)
    if known is None or known.longest is None or shape_of(known.spec.request)(args, ""):
        return _USUAL_LONGEST
    return known.longest(args)


def find(name: str) -> Callable[[Context, Any], Any]:
    """The operation of that name, imported on demand; OpError `unknown_operation` if there is none."""
    return _find(name).function


def _find(name: str) -> _Registered:
    module = MODULES.get(name.partition(".")[0])
    if name not in _operations and module is not None:
        importlib.import_module(__package__ + "." + module)
    try:
        return _operations[name]
    except KeyError:
        raise OpError("unknown_operation", f"the agent has no operation {name!r}") from None
