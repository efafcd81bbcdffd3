"""What an operation of the agent is: a function from plain data to plain data, found by its name.

    @operation("release.prune")
    def prune(ctx: Context, args: Dict[str, Any]) -> Dict[str, Any]: ...

`MODULES` says which module holds the operations of a noun. It is imported when the first of them is called, so that a
host compiles only what a run uses. Arguments and results are JSON values. An operation that cannot do its work raises
`OpError`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from typing import Any, Callable

Operation = Callable[["Context", dict[str, Any]], dict[str, Any]]

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

_operations: dict[str, Operation] = {}
_longest: dict[str, Callable[[dict[str, Any]], float]] = {}
_USUAL_LONGEST = 30.0  # seconds for an operation that does not say how long it may take


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


def operation(name: str, longest: Callable[[dict[str, Any]], float] | None = None) -> Callable[[Operation], Operation]:
    """Registers a function as the operation `name` (`module.verb`).

    `longest` says how many seconds it may take at most with these arguments.
    """

    def register(function: Operation) -> Operation:
        _operations[name] = function
        if longest is not None:
            _longest[name] = longest
        return function

    return register


def longest_of(name: str, args: dict[str, Any]) -> float:
    """Seconds that the operation may take at most; 30 where it does not say."""
    return _longest[name](args) if name in _longest else _USUAL_LONGEST


def find(name: str) -> Operation:
    """The operation of that name, imported on demand; OpError `unknown_operation` if there is none."""
    module = MODULES.get(name.partition(".")[0])
    if name not in _operations and module is not None:
        importlib.import_module(__package__ + "." + module)
    try:
        return _operations[name]
    except KeyError:
        raise OpError("unknown_operation", f"there is no operation {name!r}") from None
