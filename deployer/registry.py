"""Adapters by name: the built-in ones, and those that other packages add by entry points."""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from deployer.errors import SettingsError


class Named(Protocol):
    """What a registry needs of an adapter: the name that the settings call it by."""

    name: str


Adapter = TypeVar("Adapter", bound=Named)


class UnknownName(ValueError):
    """A name that no adapter has. `hint`: what to write or install."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Names:
    """The names that one key of the settings takes.

    Attributes:
        key: the key, such as `balancer.kind`.
        noun: what it names.
        group: the entry points by which other packages add names; each leads to a class without arguments.
        built_in: all values of the key that need no other package, in the order in which they are shown.
    """

    key: str
    noun: str
    group: str
    built_in: tuple[str, ...]

    @property
    def added(self) -> dict[str, EntryPoint]:
        """The names that installed packages add; they cannot replace a built-in one."""
        entries = _entries(self.group, tuple(sys.path))
        return {name: entry for name, entry in entries.items() if name not in self.built_in}

    def require(self, name: str) -> str:
        """Return the name if the key takes it. Entry points are read only for a name that is not built in.

        Raises UnknownName, which lists all names.
        """
        if name in self.built_in or name in self.added:
            return name
        known = [*self.built_in, *(f"{added} (of {_package(entry)})" for added, entry in self.added.items())]
        near = difflib.get_close_matches(name.lower(), [*self.built_in, *self.added], n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UnknownName(
            f"must be one of {', '.join(known)}",
            f"{meant}An installed package adds a {self.noun} by an entry point of the group {self.group}",
        )


BALANCERS = Names("balancer.kind", "balancer", "deployer.balancers", ("haproxy", "nginx", "caddy", "command", "none"))
DRIVERS = Names("balancer.kind", "driver", "deployer.drivers", BALANCERS.built_in)
"""Drivers of balancers, which run on their hosts. The built-in ones are in `agent.balancer.kinds`."""
SUPERVISORS = Names("supervisor", "supervisor", "deployer.supervisors", ("systemd", "supervisord"))
SERVERS = Names(
    "runtime.server",
    "server",
    "deployer.runtimes",
    ("auto", "uvicorn", "gunicorn", "gunicorn+uvicorn", "gunicorn-asgi", "command"),
)


@dataclass(frozen=True)
class Registry(Generic[Adapter]):
    """The adapters of one kind. `protocol` is the class that says what each must have; `own` are the built-in ones."""

    names: Names
    protocol: type[Any]
    own: tuple[Adapter, ...]

    def get(self, name: str) -> Adapter:
        """Return the adapter of that name, a built-in one first.

        Raises SettingsError when there is none, or when a package adds one that cannot be used.
        """
        for adapter in self.own:
            if adapter.name == name:
                return adapter
        entry = self.names.added.get(name)
        if entry is None:
            raise self._unknown(name)
        extension: Adapter = self._load(entry)
        return extension

    def _unknown(self, name: str) -> SettingsError:
        try:
            self.names.require(name)
        except UnknownName as error:
            return SettingsError(f"{self.names.key} is {name!r}, but {error}", hint=error.hint)
        return SettingsError(f"{self.names.key} is {name!r}, which names no {self.names.noun}")

    def _load(self, entry: EntryPoint) -> Any:
        where = f"the {self.names.noun} {entry.name} of the package {_package(entry)}"
        try:
            adapter = _created(entry, tuple(sys.path))
        except Exception as error:
            raise SettingsError(
                f"{where} cannot be loaded from {entry.value}",
                cause=f"{type(error).__name__}: {error}",
                hint=f"install a version of {_package(entry)} that fits this deploy, or uninstall it",
            ) from error
        missing = [member for member in _members(self.protocol) if _is_missing(adapter, member, self.protocol)]
        if missing:
            raise SettingsError(
                f"{where} lacks {', '.join(missing)}",
                hint=f"{self.protocol.__module__}.{self.protocol.__name__} says what a {self.names.noun} has",
            )
        if adapter.name != entry.name:
            raise SettingsError(
                f"{where} calls itself {adapter.name!r}", hint="its entry point and its `name` must be the same"
            )
        return adapter


@functools.cache
def _entries(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, the first on `path` (`sys.path`) first."""
    entries: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        entries.setdefault(entry.name, entry)
    return dict(sorted(entries.items()))


@functools.cache
def _created(entry: EntryPoint, path: tuple[str, ...]) -> Any:
    return entry.load()()


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module.partition(".")[0]


def _members(protocol: type[Any]) -> Iterator[str]:
    """Yield the names of what an adapter must have: the public attributes and methods of its protocol."""
    yield from protocol.__annotations__
    yield from (name for name, member in vars(protocol).items() if not name.startswith("_") and callable(member))


def _is_missing(adapter: Any, member: str, protocol: type[Any]) -> bool:
    """Return whether an adapter lacks an attribute, or has of a method only what it inherits from the protocol."""
    stub = vars(protocol).get(member)
    return not hasattr(adapter, member) or (callable(stub) and getattr(type(adapter), member, None) is stub)
