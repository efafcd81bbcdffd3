"""A small language for the shapes of JSON values, and a check that finds where a value differs from its shape."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any, str], str]
"""Takes a value and its path; returns what is wrong with it, or an empty text."""

_LARGEST = 1 << 63
_LAST_MOMENT = 253402300799  # the end of the year 9999, the last one that calendars of this language know
_VERSION = r"\d{1,4}(\.\d{1,6}){1,3}((a|b|rc)\d{1,4})?\+?"
_SHOWN = 60


def _scalar(name: str, fits: Callable[[Any], bool]) -> Check:
    return lambda value, path: "" if fits(value) else _wrong(path, name, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)


def _is_finite(value: int | float) -> bool:
    return math.isfinite(value) and abs(value) < _LARGEST if isinstance(value, float) else abs(value) < _LARGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value) and value >= 0


anything: Check = lambda value, path: ""  # noqa: E731
text = _scalar("text", lambda value: isinstance(value, str))
version = _scalar(
    "a version of Python", lambda value: isinstance(value, str) and bool(re.fullmatch(_VERSION, value, re.ASCII))
)
boolean = _scalar("true or false", lambda value: isinstance(value, bool))
integer = _scalar("an integer of 64 bits", lambda value: isinstance(value, int) and _is_number(value))
count = _scalar("a non-negative integer of 64 bits", _is_count)
number = _scalar("a finite number", _is_number)
amount = _scalar("a finite, non-negative number", lambda value: _is_number(value) and value >= 0)
moment = _scalar("a time in seconds since the epoch", lambda value: _is_number(value) and 0 <= value <= _LAST_MOMENT)


def optional(check: Check) -> Check:
    """Return the shape, or null."""
    return lambda value, path: "" if value is None else check(value, path)


def list_of(check: Check) -> Check:
    """Return a list whose items all have the shape."""

    def check_list(value: Any, path: str) -> str:
        if not isinstance(value, list):
            return _wrong(path, "a list", value)
        return _first(check(item, f"{path}[{index}]") for index, item in enumerate(value))

    return check_list


def pair_of(first: Check, second: Check) -> Check:
    """Return a list of exactly two items with these shapes."""

    def check_pair(value: Any, path: str) -> str:
        if not isinstance(value, list) or len(value) != 2:
            return _wrong(path, "a list of two", value)
        return first(value[0], f"{path}[0]") or second(value[1], f"{path}[1]")

    return check_pair


def map_of(check: Check, *, keys: Callable[[str], bool] = lambda key: True, named: str = "a name") -> Check:
    """Return a map from names to values that all have the shape; `keys` says which names are valid, `named` what they
    are."""

    def check_map(value: Any, path: str) -> str:
        if not isinstance(value, dict):
            return _wrong(path, "a map", value)
        for key, item in value.items():
            wrong = check(item, _join(path, key)) if keys(key) else f"{path} has the key {_shown(key)}, not {named}"
            if wrong:
                return wrong
        return ""

    return check_map


def by_port(check: Check) -> Check:
    """Return a map from port numbers, written as text, to values that all have the shape."""
    return map_of(check, keys=lambda key: key.isascii() and key.isdigit() and len(key) < 10, named="a port")


@dataclass(frozen=True)
class Record:
    """A map with known keys. Those of `required` are there; those of `others` may be missing, or null.

    Keys that it does not name are allowed: a newer agent may send more.
    """

    required: Mapping[str, Check]
    others: Mapping[str, Check]

    def __call__(self, value: Any, path: str) -> str:
        if not isinstance(value, dict):
            return _wrong(path, "a map", value)
        for key, check in self.required.items():
            if key not in value:
                return f"{_join(path, key)} is missing"
            if wrong := check(value[key], _join(path, key)):
                return wrong
        given = ((key, check) for key, check in self.others.items() if value.get(key) is not None)
        return _first(check(value[key], _join(path, key)) for key, check in given)


def record(required: Mapping[str, Check] | None = None, **others: Check) -> Record:
    """Return a `Record`."""
    return Record(required or {}, others)


def _first(wrongs: Any) -> str:
    return next((wrong for wrong in wrongs if wrong), "")


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _wrong(path: str, expected: str, value: Any) -> str:
    return f"{path or 'the response'} is {_shown(value)}, not {expected}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"a {'map' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= _LARGEST:  # Python refuses to print very large ones
        return "a number beyond 64 bits"
    shown = json.dumps(value)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
