"""Ansible's INI inventories: `[group]`, `[group:children]`, `[group:vars]`, and hosts before the first section.

The format is that of Ansible's `ini` inventory plugin: values are Python literals where they parse as such, else text.
"""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

from deployer.errors import InventoryError
from deployer.inventory.formats.raw import UNGROUPED, RawInventory, Value, Values
from deployer.inventory.names import expanded_hosts
from deployer.settings.validation_errors import nearest
from deployer.settings.yaml.document import Mark

_SECTION = re.compile(r"^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?$")
_KINDS = ("hosts", "children", "vars")


def read_ini(path: Path, shown: str, raw: RawInventory) -> None:
    """Add an INI file to `raw`. Raises: InventoryError with file and line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise InventoryError(f"{shown} cannot be read as text", file=shown, cause=str(problem)) from None
    group, kind = UNGROUPED, "hosts"
    for number, line in enumerate(text.splitlines(), 1):
        words, mark = line.strip(), Mark(shown, number)
        if not words or words[0] in "#;":
            continue
        if words.startswith("[") and ":" not in words.partition("]")[2] and _SECTION.match(words):
            group, kind = _section(words, mark)
            raw.group(group)
        elif kind == "children":
            raw.add_child(group, words.split("#")[0].strip(), mark)
        elif kind == "vars":
            raw.group(group).variables.update(_variable(words, mark))
        else:
            _hosts(words, group, mark, raw)


def _section(text: str, mark: Mark) -> tuple[str, str]:
    match = _SECTION.match(text)
    name, kind = (match[1], match[2] or "hosts") if match else ("", "")
    if kind not in _KINDS:
        near = nearest(kind, _KINDS)
        raise _wrong(mark, f"unknown section [{name}:{kind}]", f"did you mean [{name}:{near or 'vars'}]?")
    return name, kind


def _hosts(text: str, group: str, mark: Mark, raw: RawInventory) -> None:
    try:
        first, *pairs = shlex.split(text, comments=True) or [""]
        names = expanded_hosts(first)
    except ValueError as problem:
        raise _wrong(mark, str(problem), "write: NAME key=value key=value") from None
    variables: Values = {}
    for pair in pairs:
        if "=" not in pair:
            raise _wrong(
                mark,
                f"{pair!r} is not a valid key=value pair",
                "write one host per line, then its variables as key=value",
            )
        key, _, value = pair.partition("=")
        variables[key] = Value(literal(value), mark)
    for name, port in names:
        own = dict(variables)
        if port is not None:
            own.setdefault("ansible_port", Value(port, mark))
        raw.add_host(group, name, own)


def _variable(text: str, mark: Mark) -> Values:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise _wrong(mark, f"{text!r} is not a valid variable", "write: key=value")
    return {key.strip(): Value(literal(value.strip()), mark)}


def literal(text: str) -> Any:
    """Return the Python literal that `text` is (`8000`, `True`, `{'a': 1}`), else `text` itself (`007`, `yes`,
    `10.0.0.1`)."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | list | dict | None) else text


def _wrong(mark: Mark, message: str, hint: str) -> InventoryError:
    return InventoryError(message, file=mark.file, line=mark.line, hint=hint)
