"""`pyproject.toml`, `uv.lock` and `pylock.toml` as their standards define them; other shapes are refused.

Formats: PEP 621 (project), PEP 735 (dependency-groups), PEP 751 (pylock.toml), uv's lock file version 1. Only keys that
this program reads are checked. uv and pip refuse the same files.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.errors import SettingsError

_Place = tuple[str | int, ...]
_Problem = tuple[_Place, str]
_Shape = Callable[[Any, _Place], Iterator[_Problem]]


def load(path: Path) -> dict[str, Any]:
    """Return the content of one of these files, by its name; empty where there is no such file.

    Raises:
        SettingsError: it cannot be read, is not valid TOML, or a value has the wrong type; with file and line.
    """
    if not path.is_file():
        return {}
    return parse(read_text(path), path.name)


def read_text(path: Path) -> str:
    """Return the text of a file of the project. Raises SettingsError for one that cannot be read or is not UTF-8."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path.name} cannot be read", file=path.name, cause=error.strerror) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(
            f"{path.name} is not UTF-8", file=path.name, line=line, hint=f"save {path.name} as UTF-8"
        ) from None


def parse(text: str, name: str) -> dict[str, Any]:
    """Return the same from text; `name` says which file it is. Raises as `load` does."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        at = re.search(r"at line (\d+)", str(problem))
        line = int(at[1]) if at else None
        raise SettingsError(f"{name} is not valid TOML", file=name, line=line, cause=str(problem)) from None
    for place, expected in _SHAPES[name](data, ()):
        value = _value_at(data, place)
        raise SettingsError(
            f"{_dotted(place)} {f'must be {expected}' if expected else 'is missing'}",
            file=name,
            line=_line_of(text, place),
            cause=f"it is {_described(value)}" if expected else None,
            hint=f"mend {name}, then type deploy {{command}} {{env}}"
            if name == "pyproject.toml"
            else f"write {name} anew with the tool that made it",
        )
    return data


# -- shapes ----------------------------------------------------------------------------------------------------


def _text(value: Any, place: _Place) -> Iterator[_Problem]:
    if not isinstance(value, str):
        yield place, "a text"


def _number(value: Any, place: _Place) -> Iterator[_Problem]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield place, "a whole number"


@dataclass(frozen=True)
class _List:
    item: _Shape
    expected: str

    def __call__(self, value: Any, place: _Place) -> Iterator[_Problem]:
        if not isinstance(value, list):
            yield place, self.expected
            return
        for number, item in enumerate(value):
            yield from self.item(item, (*place, number))


@dataclass(frozen=True)
class _Table:
    """`keys` are checked where they are there; `required` ones must be; `rest` is the shape of all other values."""

    keys: Mapping[str, _Shape] = field(default_factory=dict)
    rest: _Shape | None = None
    required: tuple[str, ...] = ()

    def __call__(self, value: Any, place: _Place) -> Iterator[_Problem]:
        if not isinstance(value, dict):
            yield place, "a table"
            return
        for name in self.required:
            if name not in value:
                yield (*place, name), ""
        for name, item in value.items():
            shape = self.keys.get(name, self.rest)
            if shape is not None:
                yield from shape(item, (*place, name))


def _in_group(value: Any, place: _Place) -> Iterator[_Problem]:
    """PEP 735: a requirement, or `{include-group = "name"}`."""
    included = isinstance(value, dict) and list(value) == ["include-group"] and isinstance(value["include-group"], str)
    if not isinstance(value, str) and not included:
        yield place, 'a requirement or {include-group = "NAME"}'


_TABLE = _Table()
_LINES = _List(_text, 'a list of requirements, such as ["six"]')
_TEXTS = _List(_text, "a list of texts")
_TEXT_TABLE = _Table(rest=_text)
_PYPROJECT = _Table(
    {
        "project": _Table(
            {
                "name": _text,
                "version": _text,
                "requires-python": _text,
                "dependencies": _LINES,
                "optional-dependencies": _Table(rest=_LINES),
                "scripts": _TEXT_TABLE,
                "gui-scripts": _TEXT_TABLE,
                "dynamic": _TEXTS,
            }
        ),
        "dependency-groups": _Table(rest=_List(_in_group, 'a list of requirements, such as ["six"]')),
        "build-system": _Table({"requires": _LINES, "build-backend": _text}),
        "tool": _Table({"poetry": _Table({"name": _text, "dependencies": _TABLE, "scripts": _TABLE}), "uv": _TABLE}),
    }
)
_FILE = _Table({"hash": _text, "hashes": _TEXT_TABLE, "url": _text})
_FILES = _List(_FILE, "a list of tables")
_EDGES = _List(_Table({"name": _text, "extra": _TEXTS, "marker": _text}, required=("name",)), "a list of tables")
_UV_LOCK = _Table(
    {
        "version": _number,
        "package": _List(
            _Table(
                {
                    "name": _text,
                    "version": _text,
                    "source": _TEXT_TABLE,
                    "dependencies": _EDGES,
                    "optional-dependencies": _Table(rest=_EDGES),
                    "dev-dependencies": _Table(rest=_EDGES),
                    "resolution-markers": _TEXTS,
                    "wheels": _FILES,
                    "sdist": _FILE,
                },
                required=("name",),
            ),
            "a list of tables",
        ),
    }
)
_PYLOCK = _Table(
    {
        "lock-version": _text,
        "packages": _List(
            _Table(
                {
                    "name": _text,
                    "version": _text,
                    "marker": _text,
                    "wheels": _FILES,
                    "sdist": _FILE,
                    "archive": _FILE,
                    "directory": _TABLE,
                    "vcs": _Table({"type": _text, "url": _text, "commit-id": _text}, required=("url", "commit-id")),
                },
                required=("name",),
            ),
            "a list of tables",
        ),
    }
)
_SHAPES: Mapping[str, _Shape] = {"pyproject.toml": _PYPROJECT, "uv.lock": _UV_LOCK, "pylock.toml": _PYLOCK}


# -- what is wrong, and where --------------------------------------------------------------------------------

_KINDS = {str: "the text", bool: "the truth value", int: "the number", float: "the number", list: "a list"}


def _value_at(data: Any, place: _Place) -> Any:
    for step in place:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _described(value: Any) -> str:
    kind = _KINDS.get(type(value), "a table" if isinstance(value, dict) else "a date or time")
    return f"{kind} {value!r:.60}" if kind.startswith("the ") else kind


def _dotted(place: _Place) -> str:
    """`project.dependencies[2]`."""
    words = ""
    for step in place:
        words += f"[{step}]" if isinstance(step, int) else f"{'.' if words else ''}{step}"
    return words


def _line_of(text: str, place: _Place) -> int | None:
    """Return the line of a key, or of the nearest table around it; None where neither is found."""
    names = [step for step in place if isinstance(step, str)]
    entry = next((step for step in place if isinstance(step, int)), 0)
    best: tuple[int, int] | None = None
    table: list[str] = []
    tables = 0
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[(\[?)([^\[\]]+)\]", line)
        key = re.match(r"""\s*([A-Za-z0-9_.'" -]+?)\s*=""", line)
        if header:
            table = _key(header[2])
            tables += header[1] == "[" and table == names[:1]
            seen = table
        elif key:
            seen = [*table, *_key(key[1])]
        else:
            continue
        in_entry = entry == tables - 1 or not tables
        depth = len(seen) if in_entry and seen == names[: len(seen)] else 0
        if depth and (best is None or depth > best[0]):
            best = (depth, number)
    return best[1] if best else None


def _key(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
