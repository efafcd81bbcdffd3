"""An inventory as written, before variables are merged: what every format's loader fills in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import InventoryError
from deployer.settings.yaml.document import Mark

ALL, UNGROUPED = "all", "ungrouped"


@dataclass(frozen=True)
class Value:
    """A variable's value and where it is written."""

    value: Any
    mark: Mark


Values = dict[str, Value]


@dataclass
class Group:
    """A group as written. `hosts` and `children` keep the order of the file, each name once."""

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    variables: Values = field(default_factory=dict)


@dataclass
class RawInventory:
    """Groups and hosts in the order of the file. The groups `all` and `ungrouped` always exist."""

    groups: dict[str, Group] = field(default_factory=lambda: {ALL: Group(ALL), UNGROUPED: Group(UNGROUPED)})
    hosts: dict[str, Values] = field(default_factory=dict)

    def group(self, name: str) -> Group:
        """Return the group of that name, made if there is none."""
        return self.groups.setdefault(name, Group(name))

    def add_host(self, group: str, host: str, variables: Mapping[str, Value] | None = None) -> None:
        """Put a host into a group, and add to its variables."""
        self.group(group).hosts[host] = None
        self.hosts.setdefault(host, {}).update(variables or {})

    def add_child(self, group: str, child: str, mark: Mark) -> None:
        """Put a group into a group; InventoryError if that closes a circle."""
        if child == group or group in self.descendants(child):
            raise InventoryError(f"the group {child} would contain itself", file=mark.file, line=mark.line)
        self.group(child)
        self.group(group).children[child] = None

    def descendants(self, name: str) -> set[str]:
        """Return all groups below the group `name`."""
        descendants: set[str] = set()
        waiting = list(self.groups[name].children) if name in self.groups else []
        while waiting:
            child = waiting.pop()
            if child not in descendants:
                descendants.add(child)
                waiting += self.groups[child].children
        return descendants

    def members(self) -> dict[str, tuple[str, ...]]:
        """Return group → its hosts, those of its children included, in the order of the file."""
        named = {name: self._members(name) for name in self.groups if name not in (ALL, UNGROUPED)}
        grouped = {host for hosts in named.values() for host in hosts}
        ungrouped = tuple(host for host in self.hosts if host not in grouped)
        return {ALL: tuple(self.hosts), UNGROUPED: ungrouped, **named}

    def _members(self, name: str) -> tuple[str, ...]:
        names = [name, *(group for group in self.groups if group in self.descendants(name))]
        return tuple(dict.fromkeys(host for group in names for host in self.groups[group].hosts))

    def by_precedence(self, names: Iterable[str]) -> list[str]:
        """Return groups in the order in which their variables count, the strongest last: depth, priority, name."""
        depths = self._depths()
        return sorted(names, key=lambda name: (depths[name], self._priority(name), name))

    def _depths(self) -> dict[str, int]:
        depths = {name: 0 if name == ALL else 1 for name in self.groups}
        for _ in self.groups:
            changed = False
            for group in self.groups.values():
                for child in group.children:
                    if depths[child] < depths[group.name] + 1:
                        depths[child], changed = depths[group.name] + 1, True
            if not changed:
                break
        return depths

    def _priority(self, name: str) -> int:
        variable = self.groups[name].variables.get("ansible_group_priority")
        if variable is None:
            return 1
        try:
            return int(variable.value)
        except (TypeError, ValueError):
            raise InventoryError(
                f"ansible_group_priority of {name} must be a whole number",
                file=variable.mark.file,
                line=variable.mark.line,
            ) from None
