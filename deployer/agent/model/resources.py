"""What a host should have, as plain data. Adapters and roles list resources; `resource.apply` makes them so.

A resource crosses the channel as `{"kind": "file", …fields}`. Paths are as they are on the host (prefix included).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Union, cast

from deployer.agent.model.typed import Wire


@dataclass(frozen=True)
class Package:
    """A package of the host's own package manager is installed, in that version or a later one."""

    name: str
    at_least: str = ""


@dataclass(frozen=True)
class User:
    """A system user (and a group of its name) exists. It has no password and no login shell."""

    name: str
    home: str


@dataclass(frozen=True)
class Directory:
    """A folder exists with this owner and mode (octal text). Empty owner: the agent's own user."""

    path: str
    owner: str = ""
    group: str = ""
    mode: str = "0755"


@dataclass(frozen=True)
class File:
    """A file has exactly this content.

    `notify` names handlers that run once after all resources if any notifier changed. `sensitive` content is never
    shown: a diff has `told` in its place. `initial` files are written when missing and never changed afterwards.
    """

    path: str
    content: str
    owner: str = ""
    group: str = ""
    mode: str = "0644"
    notify: tuple[str, ...] = ()
    sensitive: bool = False
    initial: bool = False
    told: str = "(content hidden)"


@dataclass(frozen=True)
class Link:
    """A symbolic link points at `target`."""

    path: str
    target: str
    notify: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    """A unit of the host's service manager is enabled at boot and running (a package's own service)."""

    name: str
    enabled: bool = True
    running: bool = True


@dataclass(frozen=True)
class Listener:
    """A program answers at a UNIX socket. Where none does, `notify` names the handlers that bring it there."""

    path: str
    notify: tuple[str, ...] = ()


@dataclass(frozen=True)
class BootUnit:
    """A unit of the app starts at boot while it is in use, which is while `link` exists.

    `state` prints words: `enabled` or `disabled`, and `active` if it runs. `enable` enables it. With `active_only`, a
    unit that does not run is left as it is.
    """

    name: str
    link: str
    state: tuple[str, ...]
    enable: tuple[str, ...]
    active_only: bool = False


@dataclass(frozen=True)
class Absent:
    """Nothing is at this path, if we created what is there."""

    path: str
    notify: tuple[str, ...] = ()


Resource = Union[Package, User, Directory, File, Link, Service, Listener, BootUnit, Absent]

KINDS: dict[str, type[Any]] = {
    "package": Package,
    "user": User,
    "directory": Directory,
    "file": File,
    "link": Link,
    "service": Service,
    "listener": Listener,
    "boot_unit": BootUnit,
    "absent": Absent,
}
"""The kind of a resource on the wire → its class."""
_names = {cls: kind for kind, cls in KINDS.items()}


def to_wire(resource: Resource) -> Wire[Resource]:
    """The resource as JSON data."""
    return cast("Wire[Resource]", {"kind": _names[type(resource)], **asdict(resource)})


def from_wire(data: Wire[Resource]) -> Resource:
    """The resource that JSON data describes; KeyError or TypeError if it describes none."""
    fields: dict[str, Any] = dict(data)
    cls = KINDS[fields.pop("kind")]
    for key in ("notify", "state", "enable"):
        if key in fields:
            fields[key] = tuple(fields[key])
    resource: Resource = cls(**fields)
    return resource


def name_of(resource: Resource) -> str:
    """How plans and errors name a resource: its path or its name."""
    path = getattr(resource, "path", None)
    return str(path if path is not None else getattr(resource, "name", ""))


def all_from_wire(items: list[Wire[Resource]]) -> list[Resource]:
    """`from_wire` for a list."""
    return [from_wire(item) for item in items]
