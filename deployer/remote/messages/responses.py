"""What an agent's response to an operation has to look like before anything reads it.

docs/operations.md describes the responses. Each shape holds what the controller reads of one; a key that nothing reads
is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deployer.remote.errors import AgentError
from deployer.remote.messages.shapes import (
    Check,
    amount,
    anything,
    boolean,
    by_port,
    count,
    integer,
    list_of,
    map_of,
    moment,
    number,
    optional,
    pair_of,
    record,
    text,
    version,
)

UNEXPECTED = "unexpected_response"
"""The code of the error for a response of another shape."""

_CHANGED = record({"changed": boolean})
_HOLDER = record(who=text, run=text, command=text, since=moment, lost=moment, until=moment)
_HELD = record({"by": text}, who=text, reason=text, run=text, since=moment, at=text)
_SERVER = record({"state": text, "serves": boolean}, check=text, sessions=count, address=text, held=_HELD)
_MAINTENANCE = record({"who": optional(text), "reason": optional(text), "since": optional(moment)})
_LIMIT = record(cores=amount, memory=amount)
_PORT = record(pid=integer, command=text, user=text, unit=text, ours=boolean, socket=boolean)
_HEALTH = record(
    {"path": text, "status": optional(integer)},
    host=text,
    headers=map_of(text),
    https=boolean,
    within=amount,
    timeout=amount,
)
_RELEASE = record(
    {"id": text, "complete": boolean},
    proven=boolean,
    withdrawn=boolean,
    content=text,
    start_sha=text,
    run_sha=text,
    venv=text,
    bind=text,
    commit=text,
    created=moment,
    origin=record({"env": text, "release": text}),
    asked=text,
    health=_HEALTH,
    processes=list_of(text),
    damage=text,
    repairable=boolean,
    resolution=record(at=moment, digest=text),
)
_UNIT = record({"unit": text, "ports": list_of(count)}, why=text, pid=integer, command=text, state=text)
_RECORDED_UNIT = record({"unit": text, "ports": list_of(count), "state": text})
_FRONT = record({"path": text, "diff": text, "state": text})
_SURVEY = record(
    user=text,
    exists=boolean,
    writable=boolean,
    owner=record({"app": optional(text), "env": optional(text)}, removed=record(who=text, run=text, since=moment)),
    frozen=record(who=text, reason=text, since=moment),
    lock=_HOLDER,
    adoption=record(units=list_of(_RECORDED_UNIT), front=_FRONT),
    hostname=text,
    os=record(id=text, version=text),
    arch=text,
    libc=text,
    uid=count,
    python=record({"version": version, "path": text}),
    init=text,
    cores=count,
    memory=count,
    mem_available=count,
    limits=map_of(optional(_LIMIT)),
    boot_id=text,
    uptime=amount,
    tools=map_of(optional(text)),
    pythons=map_of(optional(text)),
    free_bytes=count,
    unwritable=list_of(record({"path": text, "why": text})),
    user_exists=boolean,
    foreign=record({"count": count, "complete": boolean, "users": list_of(text), "example": text}),
    sources=map_of(text),
    ports=by_port(optional(_PORT)),
    current=text,
    releases=list_of(_RELEASE),
    slots=by_port(text),
    processes=map_of(text),
    schedules=map_of(text),
    half_done=list_of(record(run=text, op=text, instance=anything, port=count, release=text, since=moment)),
)
_WHOLE_SURVEY = ("exists", "writable", "python", "arch", "tools", "releases", "slots", "ports", "cores", "memory")
_BRIEF_SURVEY = ("exists", "writable")
_STATE_OF_SLOT = record(
    {"proven": boolean, "pids": list_of(integer), "release": optional(text)},
    why=text,
    memory=count,
    age=amount,
    unseen=boolean,
    instance=count,
)


def _proof(value: Any, path: str) -> str:
    """Return the state of a slot.

    A proven one names its release: a slot that seems empty is stopped without a drain.
    """
    wrong = _STATE_OF_SLOT(value, path)
    return wrong or (
        f"{path}.release is null, and {path} is proven" if value["proven"] and not value["release"] else ""
    )


_SWITCHED = record({"pids": list_of(integer)}, seconds=number, changed=boolean)
_PROCESS = record({"running": boolean, "pid": optional(integer), "why": optional(text)}, release=text)
_SCHEDULE = record(release=text, why=text, pid=integer, next=moment, began=moment, ended=moment, result=text)
_PAGE = record(
    {"lines": list_of(pair_of(moment, text)), "cursor": anything, "more": boolean, "gap": boolean},
    unread=count,
)
_CHANGE = record({"kind": text, "name": text, "action": text}, diff=text)
_REFUSAL = record({"name": text, "why": text}, kind=text, diff=text, hint=text)
_FIGURES = record(
    {
        "requests": count,
        "failed": count,
        "lost": count,
        "times": map_of(
            count, keys=lambda key: key.isascii() and key.isdigit() and len(key) < 16, named="milliseconds"
        ),
    }
)
_LEDGER_LINE = record(ts=moment, run=text, event=text, who=text, command=text, release=text, duration_s=amount)
_REMOVED = record(
    {"removed": list_of(text), "venvs": list_of(text)}, failed=map_of(text), bytes=integer, inodes=integer
)
_MARKER = record(
    files=text, commit=text, requirements=list_of(text), resolution=record({"at": moment, "digest": text}), venv=text
)

_SHAPES: Mapping[str, Check] = {
    "host.survey": _SURVEY,
    "command.run": record({"exit": optional(integer), "stdout": text, "stderr": text}, signal=integer),
    "lock.ask": record({"holder": optional(_HOLDER)}),
    "lock.asked": record({"by": optional(text)}),
    "resource.apply": record({"changed": list_of(_CHANGE), "refused": list_of(_REFUSAL)}, handlers=list_of(text)),
    "resource.restore": record({"changed": list_of(text)}),
    "release.begin": record({"complete": boolean, "missing": list_of(text), "missing_bytes": count}, reused=count),
    "release.build": record({"built": boolean, "venv_built": boolean}, seconds=number),
    "release.prune": _REMOVED,
    "release.marker": record({"marker": optional(_MARKER)}),
    "tool.has": record({"path": optional(text), "needed": boolean}),
    "tool.put": record({"path": text}),
    "caddy.program": record({"path": optional(text)}, why=text),
    "repair.venv": record({"built": boolean}),
    "venv.inspect": record(
        {"path": text, "version": version, "implementation": text, "abi": text, "arch": text}, libc=text
    ),
    "venv.resolve": record({"requirements": text}),
    "secrets.digest": record({"key": text, "digest": optional(text)}),
    "secrets.write": _CHANGED,
    "hook.release": record(exit=integer, output=text, skipped=boolean),
    "instance.switch": _SWITCHED,
    "instance.prove": record({"slots": by_port(_proof)}),
    "processes.switch": record({"pid": integer}, seconds=number, changed=boolean),
    "processes.state": record({"processes": map_of(_PROCESS)}),
    "schedules.switch": record({"armed": boolean}, changed=boolean),
    "schedules.stop": record({"pid": integer}, stopped=boolean),
    "schedules.state": record({"schedules": map_of(_SCHEDULE)}),
    "logs.read": record({"now": moment, "logs": map_of(_PAGE)}),
    "site.promote": record({"previous": optional(text)}, current=text, changed=boolean),
    "site.plan": record(
        {"run": optional(text), "plan": optional(record({"command": text, "release": text})), "ended": boolean}
    ),
    "site.ledger": record({"entries": list_of(_LEDGER_LINE)}, lock=_HOLDER),
    "belongings.remove": record({"kept": list_of(text)}),
    "adopting.units": record({"units": list_of(_UNIT)}),
    "adopting.front": record({"path": text, "diff": text, "backends": list_of(text), "led": boolean, "why": text}),
    "adopting.move": _CHANGED,
    "adopting.retire": record({"retired": list_of(text), "busy": map_of(anything)}),
    "freeze.clear": record({"cleared": boolean}),
    "balancer.drain": record({"servers": map_of(record({"remaining": count}, drained=boolean, held=_HELD))}),
    "balancer.admit": record({"servers": map_of(record({"state": text}, held=_HELD))}),
    "balancer.state": record({"servers": map_of(_SERVER)}),
    "balancer.elsewhere": record({"servers": map_of(list_of(text))}),
    "balancer.recover": record({"admitted": list_of(text)}, held_again=list_of(text)),
    "maintenance.set": record({"maintenance": optional(_MAINTENANCE), "changed": boolean}),
    "maintenance.state": record({"maintenance": optional(_MAINTENANCE)}),
    "tls.presented": record({"certificates": map_of(record({"pem": optional(text), "why": text}))}),
    "servers.ask": record({"servers": map_of(record({"ok": boolean, "why": text}, status=integer, refused=boolean))}),
    "domains.connect": record({"open": boolean, "why": text}),
    "domains.request": record({"names": map_of(record({"status": optional(integer)}, why=text, location=text))}),
    "figures.read": record({"servers": map_of(_FIGURES)}),
}
"""Operation → the shape of its response. An operation that is not listed has a response that nothing reads."""

_EVENT = record(event=text, line=text, step=text, holder=_HOLDER)
"""Shapes of the events of operations."""

_REQUESTED: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Iterable[Any]]]] = {
    "instance.prove": ("slots", lambda args: [one["port"] for one in args["instances"]]),
    "processes.state": ("processes", lambda args: [f"{one['name']}@{one['number']}" for one in args["processes"]]),
    "schedules.state": ("schedules", lambda args: [one["name"] for one in args["schedules"]]),
    "logs.read": ("logs", lambda args: args["logs"]),
    "servers.ask": ("servers", lambda args: args["servers"]),
    "domains.request": ("names", lambda args: args["names"]),
    "tls.presented": ("certificates", lambda args: args["names"]),
}
"""Operation → the key below which the response answers for each name that its request asks about."""


class UnexpectedResponse(AgentError):
    """A response that is not what its operation sends: of the wrong type, without a key, or beyond all bounds."""

    def __init__(self, host: str, operation: str, why: str) -> None:
        super().__init__(
            UNEXPECTED,
            f"{host} sent an unexpected response to {operation}",
            "deploy doctor {env} shows what else is wrong there",
            host=host,
        )
        self.cause = why

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.host, self.message, self.cause), self.__dict__


def _restore(host: str, message: str, cause: str) -> UnexpectedResponse:
    return UnexpectedResponse(host, message.rpartition(" ")[2], cause)


def require_expected_event(host: str, operation: str, event: dict[str, Any]) -> dict[str, Any]:
    """Return an event of an operation. Raises UnexpectedResponse as `require_expected`."""
    wrong = _EVENT(event, "")
    if wrong:
        raise UnexpectedResponse(host, operation, f"in an event, {wrong}")
    return event


def require_expected_detail(host: str, operation: str, code: str, detail: dict[str, Any]) -> dict[str, Any]:
    """Return the detail of an operation's error. Raises UnexpectedResponse as `require_expected`."""
    wrong = _HOLDER(detail, "") if code == "locked" else ""
    if wrong:
        raise UnexpectedResponse(host, operation, f"in the detail of the error {code!r}, {wrong}")
    return detail


def require_expected(host: str, operation: str, args: Mapping[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the response `value` of an operation.

    Raises:
        UnexpectedResponse: it has another shape, or does not answer for a name that `args` ask about.
    """
    shape = _SHAPES.get(operation)
    wrong = shape(value, "") if shape else ""
    if operation == "host.survey" and not wrong:
        needed = _BRIEF_SURVEY if args.get("brief") else _WHOLE_SURVEY
        wrong = next((f"{key} is missing" for key in needed if value.get(key) is None), "")
    if operation in _REQUESTED and not wrong:
        key, names = _REQUESTED[operation]
        wrong = next((f"{key}.{name} is missing" for name in names(args) if str(name) not in value[key]), "")
    if wrong:
        raise UnexpectedResponse(host, operation, wrong)
    return value
