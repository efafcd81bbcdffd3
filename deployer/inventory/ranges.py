"""Ansible's host ranges: `web[1:3].example.com`, `[01:10]`, `[a:c]`, `[1:9:2]`, several in one name."""

from __future__ import annotations

import re
import string

_RANGE = re.compile(r"\[([^\[\]:]*):([^\[\]:]*)(?::([^\[\]:]*))?\]")
_MOST = 10_000


def expand(name: str) -> list[str]:
    """Return the names that `name` stands for, ends included; itself if it has no range.

    ValueError for a malformed range.
    """
    match = _RANGE.search(name)
    if not match:
        if "[" in name or "]" in name:
            raise ValueError(
                f"{name!r} has a bracket that is not a valid range: write [1:3], [01:10], [a:c] or [1:9:2]"
            )
        return [name]
    begin, end, step = match[1], match[2], match[3]
    tails = expand(name[match.end() :])
    values = _values(name, begin, end, step)
    if len(values) * len(tails) > _MOST:
        raise ValueError(f"{name!r} stands for more than {_MOST} hosts")
    return [name[: match.start()] + value + tail for value in values for tail in tails]


def _values(name: str, begin: str, end: str, step: str | None) -> list[str]:
    begin = begin or "0"
    if step is not None and (not step.isdecimal() or int(step) == 0):
        raise ValueError(f"the step in {name!r} must be a number above 0")
    by = int(step) if step else 1
    if begin.isdecimal() and end.isdecimal():
        return _numbers(name, begin, end, by)
    letters = string.ascii_letters
    if len(begin) == len(end) == 1 and begin in letters and end in letters:
        first, last = letters.index(begin), letters.index(end)
        if first <= last:
            return list(letters[first : last + 1 : by])
    raise ValueError(f"the range in {name!r} must go up from a number to a number, or from a letter to a letter")


def _numbers(name: str, begin: str, end: str, by: int) -> list[str]:
    padded = len(begin) > 1 and begin.startswith("0")
    if padded and len(begin) != len(end):
        raise ValueError(f"both ends of the zero-padded range in {name!r} must have the same length")
    if int(begin) > int(end):
        raise ValueError(f"the range in {name!r} must go up")
    if (int(end) - int(begin)) // by >= _MOST:
        raise ValueError(f"{name!r} stands for more than {_MOST} hosts")
    width = len(begin) if padded else 0
    return [str(number).zfill(width) for number in range(int(begin), int(end) + 1, by)]
