"""Adapters by name: the built-in ones, and those that packages of third parties add."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Generic, Protocol, TypeVar

from deployer.errors import SettingsError


class Named(Protocol):
    """What a registry needs of an adapter: the name that the settings call it by."""

    name: str


Adapter = TypeVar("Adapter", bound=Named)


@dataclass(frozen=True)
class Registry(Generic[Adapter]):
    """The adapters of one kind, which the key `key` of the settings names.

    A package adds one by an entry point of the group `group`: its name → a class without arguments.
    """

    group: str
    noun: str
    key: str
    own: tuple[Adapter, ...]

    def get(self, name: str) -> Adapter:
        """Return the adapter of that name, a built-in one first; SettingsError if there is none."""
        for adapter in self.own:
            if adapter.name == name:
                return adapter
        for entry in entry_points(group=self.group, name=name):
            extension: Adapter = entry.load()()
            return extension
        known = ", ".join(adapter.name for adapter in self.own)
        raise SettingsError(f"there is no {self.noun} {name!r}", hint=f"{self.key} is one of {known}")
