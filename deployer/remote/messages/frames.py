"""The shapes of the frames that an agent sends. A frame of another shape ends the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deployer.agent.channel.protocol import WINDOW, Frame, ProtocolError

_Check = Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _map(value: Any) -> bool:
    return isinstance(value, dict)


def _lines(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _credit(value: Any) -> bool:
    return _number(value) and 0 < value <= WINDOW


def _optional(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


_SHAPES: Mapping[str, Mapping[str, _Check]] = {
    "welcome": {"n": _number},
    "beat": {"n": _number},
    "noise": {"line": _text},
    "event": {"id": _number, "event": _map},
    "credit": {"id": _number, "bytes": _credit},
    "result": {"id": _number, "value": _map},
    "error": {
        "id": _number,
        "code": _text,
        "message": _text,
        "hint": _optional(_text),
        "log": _optional(_lines),
        "detail": _optional(_map),
    },
}


def checked(frame: Frame) -> Frame:
    """Return the frame, its text free of lone surrogates, which no terminal or file takes.

    Raises:
        ProtocolError: the frame is not one that an agent sends, or a field is missing or has the wrong type.
    """
    shape = _SHAPES.get(frame.kind)
    if shape is None:
        raise ProtocolError(f"{frame.kind[:40]!r} is not a valid frame")
    for name, check in shape.items():
        if not check(frame.head.get(name)):
            raise ProtocolError(f"a frame {frame.kind!r} has no valid {name!r}")
    return Frame(_clean(frame.head), frame.body)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
