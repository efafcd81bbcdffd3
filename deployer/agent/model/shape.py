"""Checks that a JSON value is what an annotation says, and tells where it is not.

    shape_of(TakeLock)({"site": …, "run": 5}, "the request")   →   "run is 5, not text"

Keys that a message does not name are allowed. A key that is `NotRequired` may be missing; one that may be null says so.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Callable

from deployer.agent.model.typed import MESSAGES

Check = Callable[[Any, str], str]
"""Takes a value and its path; returns what is wrong with it, or an empty text."""

_LARGEST = 1 << 63
_LAST_MOMENT = 253402300799  # the end of the year 9999, the last one that calendars of this language know
_VERSION = r"\d{1,4}(\.\d{1,6}){1,3}((a|b|rc)\d{1,4})?\+?"
_SHOWN = 60

_shapes: dict[type, Shape] = {}


def shape_of(message: type) -> Shape:
    """The shape of a message, or of the JSON form of a dataclass, as its annotations say."""
    if message not in _shapes:
        _shapes[message] = _dataclass(message) if hasattr(message, "__dataclass_fields__") else _message(message)
    return _shapes[message]


class Shape:
    """One check and what it expects, in words; `shape | None` also takes null, as in an annotation."""

    def __init__(self, expected: str, check: Check) -> None:
        self.expected = expected
        self.check = check

    def __call__(self, value: Any, path: str) -> str:
        return self.check(value, path)

    def __or__(self, other: Shape | None) -> Shape:
        if other is None:
            return Shape(f"{self.expected} or null", lambda value, path: "" if value is None else self(value, path))
        return Shape(
            f"{self.expected} or {other.expected}",
            lambda value, path: (
                ""
                if not self(value, path) or not other(value, path)
                else wrong(path, f"{self.expected} or {other.expected}", value)
            ),
        )


class _Maybe(Shape):
    """`NotRequired[…]`: a key that may be missing."""


def wrong(path: str, expected: str, value: Any) -> str:
    """One sentence: where, what is there, and what should be."""
    return f"{path or 'the message'} is {_shown(value)}, not {expected}"


# -- single values -----------------------------------------------------------------------------------------------------


def _scalar(expected: str, fits: Callable[[Any], bool]) -> Shape:
    return Shape(expected, lambda value, path: "" if fits(value) else wrong(path, expected, value))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and abs(value) < _LARGEST)  # not so for NaN and infinity


def _is_version(value: Any) -> bool:
    import re

    return isinstance(value, str) and bool(re.fullmatch(_VERSION, value, re.ASCII))


def _is_digits(value: Any, bound: int) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < bound


_ANYTHING = Shape("anything", lambda value, path: "")
_MAP = _scalar("a map", lambda value: isinstance(value, dict))
_TEXT = _scalar("text", lambda value: isinstance(value, str))
_NAMED: dict[str, Any] = {
    "Any": _ANYTHING,
    "Json": _ANYTHING,
    "JsonMap": _MAP,
    "object": _ANYTHING,
    "str": _TEXT,
    "bool": _scalar("true or false", lambda value: isinstance(value, bool)),
    "int": _scalar("an integer of 64 bits", _is_integer),
    "float": _scalar("a finite number", _is_number),
    "Count": _scalar("a non-negative integer of 64 bits", lambda value: _is_integer(value) and value >= 0),
    "Port": _scalar("a port", lambda value: _is_integer(value) and 0 < value < 1 << 16),
    "Amount": _scalar("a finite, non-negative number", lambda value: _is_number(value) and value >= 0),
    "Moment": _scalar(
        "a time in seconds since the epoch", lambda value: _is_number(value) and 0 <= value <= _LAST_MOMENT
    ),
    "PythonVersion": _scalar("a version of Python", _is_version),
    "PortText": _scalar("a port", lambda value: _is_digits(value, 10)),
    "Milliseconds": _scalar("milliseconds", lambda value: _is_digits(value, 16)),
}


# -- lists, maps, messages ---------------------------------------------------------------------------------------------


class _List:
    def __getitem__(self, item: Shape) -> Shape:
        def check(value: Any, path: str) -> str:
            if not isinstance(value, (list, tuple)):
                return wrong(path, "a list", value)
            return _first(item(one, f"{path}[{index}]") for index, one in enumerate(value))

        return Shape("a list", check)


class _Tuple:
    """`tuple[str, ...]` is a list, `tuple[float, str]` a list of two."""

    def __getitem__(self, items: tuple[Any, ...]) -> Shape:
        if items[1] is ...:
            return _List()[items[0]]

        def check(value: Any, path: str) -> str:
            if not isinstance(value, (list, tuple)) or len(value) != len(items):
                return wrong(path, f"a list of {len(items)}", value)
            return _first(item(one, f"{path}[{index}]") for index, (item, one) in enumerate(zip(items, value)))

        return Shape(f"a list of {len(items)}", check)


class _Dict:
    def __getitem__(self, item: tuple[Shape, Shape]) -> Shape:
        names, shape = item

        def check(value: Any, path: str) -> str:
            if not isinstance(value, dict):
                return wrong(path, "a map", value)
            for key, one in value.items():
                if names(key, ""):
                    return f"{path or 'the message'} has the key {_shown(key)}, not {names.expected}"
                problem = shape(one, _join(path, key))
                if problem:
                    return problem
            return ""

        return Shape("a map", check)


class _Wire:
    """`Wire[X]`: the JSON form of a dataclass, or of one of those in a union, told apart by `kind`."""

    def __getitem__(self, item: Any) -> Shape:
        return item if isinstance(item, Shape) else _tagged(item)


class _NotRequired:
    def __getitem__(self, item: Shape) -> Shape:
        return _Maybe(item.expected, item.check)


_NAMED.update({"list": _List(), "tuple": _Tuple(), "dict": _Dict(), "Wire": _Wire(), "NotRequired": _NotRequired()})


def _fields(items: list[tuple[str, Shape]]) -> Shape:
    def check(value: Any, path: str) -> str:
        if not isinstance(value, dict):
            return wrong(path, "a map", value)
        for key, shape in items:
            if key in value:
                problem = shape(value[key], _join(path, key))
                if problem:
                    return problem
            elif not isinstance(shape, _Maybe):
                return f"{_join(path, key)} is missing"
        return ""

    return Shape("a map", check)


def _message(message: type) -> Shape:
    items: dict[str, Shape] = {}
    for cls in reversed(message.__mro__):
        total = getattr(cls, "__total__", True)
        for key, text in _annotations(cls).items():
            shape = _read(text, cls)
            items[key] = shape if total else _Maybe(shape.expected, shape.check)
    return _fields(list(items.items()))


def _dataclass(cls: Any) -> Shape:
    """Fields that have a default may be missing."""
    items = []
    for key, field in cls.__dataclass_fields__.items():
        shape = _read(field.type, cls)
        required = field.default is _missing() and field.default_factory is _missing()
        items.append((key, shape if required else _Maybe(shape.expected, shape.check)))
    return _fields(items)


def _missing() -> Any:
    return sys.modules["dataclasses"].MISSING


def _tagged(union: Any) -> Shape:
    """One of the dataclasses of a union; `kind` is the name in the table `KINDS` of their module."""
    kinds: dict[str, type] = sys.modules[union.__args__[0].__module__].__dict__["KINDS"]

    def check(value: Any, path: str) -> str:
        if not isinstance(value, dict):
            return wrong(path, "a map", value)
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            return wrong(_join(path, "kind"), f"one of {', '.join(kinds)}", kind)
        return shape_of(kinds[kind])(value, path)

    return Shape("a map", check)


# -- annotations -------------------------------------------------------------------------------------------------------


def _annotations(cls: type) -> dict[str, str]:
    own = vars(cls).get("__annotations__")
    if own is None and sys.version_info >= (3, 14) and cls is not object:
        own = cls.__annotations__
    return {key: text for key, text in (own or {}).items() if isinstance(text, str)}


def _read(text: Any, cls: type) -> Shape:
    """The shape that an annotation (a text of our own source) names in the module of `cls`."""
    shape: Shape = eval(text, {"__builtins__": {}}, _Names(cls))  # noqa: S307
    return shape


class _Names(dict):  # type: ignore[type-arg]
    """What a name in an annotation stands for: of these shapes, or of the module that the annotation is in."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self._module = sys.modules[cls.__module__].__dict__

    def __missing__(self, name: str) -> Any:
        if name in _NAMED:
            return _NAMED[name]
        return _resolve(self._module[name] if name in self._module else MESSAGES[name])


def _resolve(value: Any) -> Any:
    """The shape of a class or of an alias such as `tuple[str, ...]`; a union as it is, for `Wire`."""
    origin = getattr(value, "__origin__", None)
    if origin is tuple or origin is dict or origin is list:
        parts = tuple(part if part is ... else _resolve(part) for part in value.__args__)
        return _NAMED[origin.__name__][parts if len(parts) > 1 else parts[0]]
    if isinstance(value, type):
        return _NAMED[value.__name__] if value.__name__ in _NAMED else shape_of(value)
    return _ANYTHING if value is Any else value


def _first(wrongs: Any) -> str:
    return next((problem for problem in wrongs if problem), "")


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        return f"a {'map' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= _LARGEST:  # Python refuses to print very large ones
        return "a number beyond 64 bits"
    shown = json.dumps(value, default=repr)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
