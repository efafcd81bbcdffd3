"""The requirements that a project declares in its `pyproject.toml` (PEP 621, PEP 735)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.utils import canonicalize_name

from deployer.errors import SettingsError


def declared(project: Mapping[str, Any], extras: Iterable[str], groups: Iterable[str]) -> tuple[str, ...]:
    """Return the project's own dependencies with these extras and groups, from the data of its pyproject.toml.

    Raises:
        SettingsError: an extra or a group is not there, or a group includes itself.
    """
    table = project.get("project", {})
    lines = list(table.get("dependencies", ()))
    for extra in extras:
        lines += _named(table.get("optional-dependencies", {}), "extra", extra)
    for group in groups:
        lines += _group(project.get("dependency-groups", {}), group, ())
    return tuple(dict.fromkeys(lines))


def _group(groups: Mapping[str, Any], name: str, outer: tuple[str, ...]) -> list[str]:
    if name in outer:
        raise _missing("group", name)
    lines: list[str] = []
    for item in _named(groups, "group", name):
        lines += [item] if isinstance(item, str) else _group(groups, item["include-group"], (*outer, name))
    return lines


def _named(table: Mapping[str, Sequence[Any]], what: str, name: str) -> Sequence[Any]:
    for other, items in table.items():
        if canonicalize_name(other) == canonicalize_name(name):
            return items
    raise _missing(what, name)


def _missing(what: str, name: str) -> SettingsError:
    hint = f"mend python: {{{what}s: […]}} in deploy.yaml, then type deploy {{command}} {{env}}"
    return SettingsError(f"pyproject.toml has no {what} {name}", hint=hint)
