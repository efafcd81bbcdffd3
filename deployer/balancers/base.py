"""What a balancer is: which configuration an app's pool needs there and how its agent driver is addressed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Resource
from deployer.agent.model.supervision import Argv, Health
from deployer.settings.tls import Certificate

_SECOND = re.compile(r"^(.+-\d+)\.\d+$")


@dataclass(frozen=True)
class Server:
    """One slot as the balancer sees it, in use or not: both slots of an instance are always known to it.

    `address` is an address, or the folder of its UNIX socket (`agent.model.endpoints`) where the kind can reach one.
    Slots with the same `instance` are those of one, of which one is in use; without a name it is the only one.
    """

    name: str
    address: str
    port: int
    instance: str = ""


@dataclass(frozen=True)
class Https:
    """A pool is served with TLS at `listen` (`:443` or `ADDRESS:PORT`), and plain HTTP is sent there.

    `certificate` is the user's own, with its key; its `pem` is empty where only paths count. None: the balancer gets
    one from `issuer`: `internal` (its own), the URL of an ACME directory, or "" for its usual ones; `email` is told.
    """

    listen: str
    certificate: Certificate | None = None
    issuer: str = ""
    email: str = ""


@dataclass(frozen=True)
class Www:
    """Static files that lie on the balancer's own host: those below `url` (`/static/`) are found by it in `root`.

    What is not there, the app is asked for.
    """

    url: str
    root: str


@dataclass(frozen=True)
class Pool:
    """One app's servers behind one balancer host. `site` is the app's site on that balancer host.

    `listen` is `:80` or `ADDRESS:PORT`; `keepalive` is the app's own keep-alive in seconds, which the balancer must
    stay below; `maintenance` is the user's own page for that, as HTML; `websocket_timeout` the seconds that one may be
    silent (None: as usual there); `trusted_proxies` are networks whose word for the user's address counts. `www` are
    static files that a balancer which can serve files serves itself.
    """

    site: Site
    name: str
    servers: tuple[Server, ...]
    health: Health
    domains: tuple[str, ...] = ()
    listen: str = ":80"
    socket: str = "/run/haproxy/admin.sock"
    keepalive: float = 5.0
    https: Https | None = None
    maintenance: str = ""
    websocket_timeout: float | None = None
    trusted_proxies: tuple[str, ...] = ()
    www: Www | None = None
    options: dict[str, Any] = field(default_factory=dict)


def server_name(host: str, port: int) -> str:
    """Return the balancer's name for a slot: the host's inventory name and the port, only of characters safe
    everywhere.

    It begins with a letter or a digit: `::1` is `host--1`.
    """
    safe = "".join(char if char.isalnum() or char in "._-" else "-" for char in host)
    return f"{safe}-{port}" if safe[:1].isalnum() else f"host{safe}-{port}"


def second_name(server: str, number: int = 2) -> str:
    """Return the balancer's name for a slot at another address, while it knows the slot at both: `web1-8000.2`."""
    return f"{server}.{number}"


def first_name(server: str) -> str:
    """Return the name that `server_name` made, of a server that may have a second one."""
    match = _SECOND.match(server)
    return match.group(1) if match else server


def port_in(server: str, host: str) -> int | None:
    """Return the port in a name of that host's, a first or a second one; None for any other name."""
    name = first_name(server)
    port = name.rpartition("-")[2]
    return int(port) if port.isdigit() and name == server_name(host, int(port)) else None


@dataclass(frozen=True)
class Front:
    """Where somebody else's configuration of the same balancer leads its users to a pool: by the name `backend`.

    `path` is the file of that configuration; empty where the balancer is asked which of its files it is.
    """

    backend: str
    path: str = ""


class Balancer(Protocol):
    """One kind of balancer. Pure. An adapter that inherits from this class need only set what differs from here.

    Attributes:
        name: the name that `balancer.kind` gives.
        service: its systemd unit; empty: it has none on the hosts of `balancer.hosts`.
        configures_pools: deploy writes its configuration, unless `balancer.manage` is false.
        sends_from_its_host: the app gets requests from the hosts of `balancer.hosts`, so its addresses are tried there.
        uses_secrets: its driver needs the app's secrets on the balancer's host.
        serves_tls: `tls:` is possible, with a certificate of the user's own.
        obtains_certificates: it gets certificates by itself (`tls: auto`).
        serves_files: it can answer with files of its own host (`Pool.www`).
        why_no_sockets: what keeps it from passing requests on to a UNIX socket of its own host; empty: nothing.
        why_no_figures: what keeps it from telling what came of requests; empty: nothing.
    """

    name: str
    service: str = ""
    configures_pools: bool = True
    sends_from_its_host: bool = True
    uses_secrets: bool = False
    serves_tls: bool = False
    obtains_certificates: bool = False
    serves_files: bool = False
    why_no_sockets: str = ""
    why_no_figures: str = ""

    def base(self, site: Site, *, systemd: bool) -> list[Resource]:
        """Return what setup installs once per balancer host, for all apps: packages, base configuration, drop-ins."""

    def resources(self, pool: Pool) -> list[Resource]:
        """Return the files of this app's pool, each its own, and what frontends need; with the handlers they notify."""

    def absent(self, pool: Pool) -> list[Resource]:
        """Return the same files gone, but for those that other apps share; with the handlers they notify."""

    def handlers(self, site: Site, *, systemd: bool) -> dict[str, tuple[Argv, ...]]:
        """Return commands by handler name, run in order, stopping at the first that fails: check, then reload."""

    def check(self, site: Site, *, systemd: bool) -> Argv:
        """Return a command that fails, and says why, when the balancer would not take its configuration; empty:
        none."""

    def front(self, pool: Pool) -> Front | None:
        """Return how a foreign frontend there is led to this pool; None where none can be."""

    def driver(self, pool: Pool) -> dict[str, Any]:
        """Return what the agent's driver needs to drain and admit this pool's servers: `{"kind": "haproxy", …}`.

        A pool that somebody else configures has `addresses` too: server → `ADDRESS:PORT`, by which alone its driver
        knows a server.
        """
