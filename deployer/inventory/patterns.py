"""Ansible's host patterns: `web`, `web1,web2`, `web:&eu:!web3`, globs, `~regex`, `web[0]`, `web[0:2]`, `@file`.

Plain parts are joined, then `&` parts intersect, then `!` parts are taken away, whatever their order; without a plain
part all hosts are meant.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from pathlib import Path

from deployer.errors import InventoryError
from deployer.inventory.model import Host, Inventory
from deployer.settings.validation_errors import nearest

_SUBSCRIPT = re.compile(r"^(.+)\[(?:(-?\d+)|(\d+)[:-](\d*))\]$")
_PARTS = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")


def select(inventory: Inventory, pattern: str) -> tuple[Host, ...]:
    """Return the hosts that `pattern` means, in the order of the inventory.

    Raises: InventoryError for a malformed pattern, a plain name that is neither host nor group, or an empty match.
    """
    parts = _split(inventory, pattern)
    chosen: set[str] = set()
    plain = [part for part in parts if part[0] not in "&!"]
    for part in plain or ["all"]:
        chosen |= set(_match(inventory, part, pattern))
    for part in parts:
        if part[0] == "&":
            chosen &= set(_match(inventory, part[1:], pattern))
    for part in parts:
        if part[0] == "!":
            chosen -= set(_match(inventory, part[1:], pattern))
    hosts = tuple(host for host in inventory.hosts if host.name in chosen)
    if not hosts:
        raise InventoryError(
            f"the pattern {pattern!r} matches no host of {inventory.env}", hint=_hosts_hint(_known(inventory))
        )
    return hosts


def _split(inventory: Inventory, pattern: str) -> list[str]:
    if "," in pattern:
        words = [word.strip() for word in pattern.split(",")]
    elif pattern.startswith(("~", "@")) or any(host.name == pattern for host in inventory.hosts):
        words = [pattern.strip()]
    else:
        words = _PARTS.findall(pattern)
    parts = [part for word in words if word for part in _from_file(word)]
    if not parts or any(part in ("&", "!") for part in parts):
        raise InventoryError(f"the pattern {pattern!r} is empty", hint=_hosts_hint(_known(inventory)))
    return parts


def _from_file(word: str) -> list[str]:
    if not word.startswith("@"):
        return [word]
    try:
        lines = Path(word[1:]).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise InventoryError("the file of host patterns cannot be read", file=word[1:], cause=str(problem)) from None
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _match(inventory: Inventory, part: str, pattern: str) -> list[str]:
    name, first, last = _subscript(part)
    names = _named(inventory, name)
    if not names and not _is_glob(name) and name not in inventory.groups:
        # Every inventory has these two, so nobody misspells them for want of knowing better.
        groups = [group for group in inventory.groups if group not in ("all", "ungrouped")]
        near = nearest(name, [*groups, *(host.name for host in inventory.hosts)])
        raise InventoryError(
            f"{name!r} in the pattern {pattern!r} is neither a host nor a group of {inventory.env}",
            hint=_hosts_hint(f"did you mean {near}?" if near else _known(inventory)),
        )
    if first is None:
        return names
    return names[first:][:1] if last is None else names[first : None if last == -1 else last + 1]


def _subscript(part: str) -> tuple[str, int | None, int | None]:
    """Name, first and last index: last None for one host, -1 for up to the end."""
    match = None if part.startswith("~") else _SUBSCRIPT.match(part)
    if not match:
        return part, None, None
    if match[2] is not None:
        return match[1], int(match[2]), None
    return match[1], int(match[3]), int(match[4]) if match[4] else -1


def _named(inventory: Inventory, name: str) -> list[str]:
    """Return hosts of the groups that `name` matches, then hosts that it matches by their own name."""
    matches = _matcher(name)
    groups = [group for group in inventory.groups if matches(group)]
    names = [host for group in groups for host in inventory.groups[group]]
    if not groups or name.startswith("~") or any(char in name for char in ".?*["):
        names += [host.name for host in inventory.hosts if matches(host.name)]
    return list(dict.fromkeys(names))


def _matcher(name: str) -> Callable[[str], object]:
    try:
        return re.compile(name[1:] if name.startswith("~") else fnmatch.translate(name)).match
    except re.error as problem:
        raise InventoryError(f"{name!r} is not a valid regular expression", cause=str(problem)) from None


def _is_glob(name: str) -> bool:
    return name.startswith("~") or any(char in name for char in "*?[")


def _hosts_hint(advice: str) -> str:
    """Return the advice for a pattern that was typed, with the command that lists the hosts."""
    return f"{advice.removesuffix('.')}{'' if advice.endswith('?') else ';'} deploy hosts {{env}} lists all hosts"


def _known(inventory: Inventory) -> str:
    groups = ", ".join(sorted(set(inventory.groups) - {"all", "ungrouped"}))
    hosts = ", ".join(host.name for host in inventory.hosts[:5])
    more = ", …" if len(inventory.hosts) > 5 else ""
    return f"groups: {groups or 'none'}; hosts: {hosts}{more}"
