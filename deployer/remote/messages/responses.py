"""What an agent's response has to look like before anything reads it: as `agent.model.messages` declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.agent.model.messages import (
    balancer,
    dependencies,
    freeze,
    host,
    instances,
    lock,
    logs,
    releases,
    requests,
    resources,
    secrets,
    site,
    takeover,
)
from deployer.agent.model.messages.event import Event
from deployer.agent.model.shape import shape_of
from deployer.agent.model.typed import Operation
from deployer.remote.errors import AgentError

UNEXPECTED = "unexpected_response"
"""The code of the error for a response of another shape."""

_NOUNS = (
    balancer,
    dependencies,
    freeze,
    host,
    instances,
    lock,
    logs,
    releases,
    requests,
    resources,
    secrets,
    site,
    takeover,
)
_WHOLE_SURVEY = ("python", "arch", "tools", "releases", "slots", "ports", "cores", "memory")
"""What a survey that is not `brief` has to tell."""


def _operations() -> Iterator[Operation[Any, Any]]:
    for noun in _NOUNS:
        yield from (value for value in vars(noun).values() if isinstance(value, Operation))


OPERATIONS: Mapping[str, Operation[Any, Any]] = {operation.name: operation for operation in _operations()}
"""Every operation of the agent, by its name."""


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


def require_expected_event(host: str, operation: str, event: dict[str, Any]) -> Event:
    """Return an event of an operation. Raises UnexpectedResponse as `require_expected`."""
    wrong = shape_of(Event)(event, "")
    if wrong:
        raise UnexpectedResponse(host, operation, f"in an event, {wrong}")
    checked: Event = event  # type: ignore[assignment]
    return checked


def require_expected_detail(host: str, operation: str, code: str, detail: dict[str, Any]) -> dict[str, Any]:
    """Return the detail of an operation's error. Raises UnexpectedResponse as `require_expected`."""
    wrong = shape_of(lock.Holder)(detail, "") if code == "locked" else ""
    if wrong:
        raise UnexpectedResponse(host, operation, f"in the detail of the error {code!r}, {wrong}")
    return detail


def require_expected(host: str, operation: str, args: Mapping[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the response `value` of an operation.

    Raises:
        UnexpectedResponse: it has another shape, or does not answer for a name that `args` ask about.
    """
    known = OPERATIONS.get(operation)
    wrong = (shape_of(known.response)(value, "") or _missing_answer(known, args, value)) if known else ""
    if wrong:
        raise UnexpectedResponse(host, operation, wrong)
    return value


def _missing_answer(operation: Operation[Any, Any], args: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    """What the response to this very request lacks; empty: nothing."""
    if operation is host.SURVEY and not args.get("brief"):
        return next((f"{key} is missing" for key in _WHOLE_SURVEY if value.get(key) is None), "")
    if operation is instances.PROVE:
        doubts = ((f"slots.{port}", _doubt(state)) for port, state in value["slots"].items())
        wrong = next((f"{path} {why}" for path, why in doubts if why), "")
        if wrong:
            return wrong
    if operation.per_name is None:
        return ""
    key, names = operation.per_name
    return next((f"{key}.{name} is missing" for name in names(args) if name not in value[key]), "")


def _doubt(state: Mapping[str, Any]) -> str:
    """Return what is wrong with the state of a slot; empty: nothing.

    A proven slot must name its release: one that seems empty is stopped without a drain.
    """
    return "is proven, and its release is null" if state["proven"] and not state["release"] else ""
