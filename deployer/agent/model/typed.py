"""The words in which messages are declared: plain maps with typed keys, and the operations that take and return them.

    class TakeLock(OnSite):
        run: str
        wait: NotRequired[Amount]

    TAKE = Operation("lock.take", TakeLock, LockTaken)

A message is a `TypedDict`: on the wire, in this program and in tests it is the same JSON map, and mypy checks who
builds or reads it. `agent.model.shape` reads the same annotations and checks what arrives. At run time `TypedDict` is
a class of three lines: that of `typing` is eight times as slow to define, and a host pays for it at every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")
T = TypeVar("T")

Count = int
"""A non-negative integer of 64 bits: bytes, files, processes."""
Port = int
"""A TCP port, 1 to 65535."""
Amount = float
"""A finite number from 0 on, mostly seconds."""
Moment = float
"""A time in seconds since the epoch, up to the year 9999."""
PythonVersion = str
"""A version of Python: `3.12`, `3.11.2`, `3.14.0rc1`."""
PortText = str
"""A port as a key of a map, where JSON takes text alone."""
Milliseconds = str
"""Whole milliseconds as a key of a map."""
Json = Any
"""Any JSON value, which the side that carries it does not read."""
JsonMap = dict[str, Any]
"""A JSON map that is read by one who knows more of it, such as the driver of a balancer's kind."""

Commands = list[list[str]]
"""Commands as words, to be run one after the other."""

MESSAGES: dict[str, type] = {}
"""Every message by its name. So a module that only names another's message in a response need not import it."""

if TYPE_CHECKING:
    from typing import NotRequired as NotRequired
    from typing import TypedDict as TypedDict

    class Wire(dict[str, object], Generic[T]):
        """A dataclass as JSON data: made by its `to_wire`, read by its `from_wire`."""
else:

    class TypedDict:
        """A map with typed keys. Calling it makes a plain `dict`."""

        __total__ = True

        def __init_subclass__(cls, total=True):
            cls.__total__ = total
            MESSAGES[cls.__name__] = cls

        def __new__(cls, **values):
            return values

    class Wire:
        """A dataclass as JSON data; only named in annotations."""

    class NotRequired:
        """A key that may be missing; only named in annotations."""


class Operation(Generic[Q, R]):
    """An operation as both sides know it.

    Args:
        name: `<noun>.<verb>`.
        request: what the controller sends.
        response: what the agent answers.
        per_name: the key of the response that answers for each name of the request, and what lists these names.
    """

    def __init__(
        self,
        name: str,
        request: type[Q],
        response: type[R],
        per_name: tuple[str, Callable[[Q], list[str]]] | None = None,
    ) -> None:
        self.name = name
        self.request = request
        self.response = response
        self.per_name = per_name


class Empty(TypedDict):
    """A response that says nothing: the operation is done."""
