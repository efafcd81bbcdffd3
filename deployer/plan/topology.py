"""Who takes part: web hosts with their own settings and sites, balancer hosts with theirs, in lock order."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deployer import balancers, runtimes, supervisors
from deployer.agent.model.endpoints import parts, place
from deployer.agent.model.layout import WWW, Site
from deployer.agent.model.supervision import Health, Instance, Process, Schedule
from deployer.balancers.base import Balancer, Https, Pool, Server, Www, port_in, server_name
from deployer.inventory.effective import HostSettings
from deployer.inventory.model import Host
from deployer.plan.facts import Facts, ReleaseFacts
from deployer.plan.model import Action
from deployer.runtimes.base import Runtime
from deployer.settings import models as settings_models
from deployer.settings.models import Settings, Tls
from deployer.settings.tls import Certificate
from deployer.supervisors.base import ProcessSpec, ScheduleSpec, Supervisor, UnitSpec

END_OF_RUN = 30.0
"""Seconds that the last process of a schedule's run may outlive the run's time."""


@dataclass(frozen=True)
class WebHost:
    """A host with instances. `own` are the settings as they are for this host; `place` counts in inventory order."""

    host: Host
    own: HostSettings
    site: Site
    place: int = 0

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def ports(self) -> tuple[int, ...]:
        """The first slot's port of every instance, by index."""
        return self.own.ports

    @property
    def sockets(self) -> str:
        """The folder of its instances' UNIX sockets; empty where they listen at ports."""
        return self.site.sockets if self.own.bind == "unix" else ""

    @property
    def reached_at(self) -> str:
        """Where balancers find its instances: an address, or the folder of their sockets."""
        return self.sockets or self.own.address

    @property
    def by_ipv6(self) -> bool:
        """Whether balancers reach its instances at an IPv6 address."""
        return not self.sockets and ":" in self.own.address

    @property
    def spare_ports(self) -> tuple[int, ...]:
        """The second slot's port of every instance, by index."""
        return self.own.spare_ports

    def slots(self, index: int) -> tuple[int, int]:
        """Return both slots of an instance, the first one first."""
        return self.ports[index], self.spare_ports[index]

    def other(self, port: int) -> int:
        """Return the other slot of the instance whose slot `port` is."""
        first, spare = self.slots(self.index_of(port))
        return spare if port == first else first

    def former_index(self, port: int) -> int:
        """Return the instance that a slot at `port` once was, by the current ports; at least 0."""
        return max(0, port - (self.own.spare_port if port >= self.own.spare_port else self.own.port))

    def index_of(self, port: int) -> int:
        """Return the instance whose slot `port` is, or was."""
        for ports in (self.ports, self.spare_ports):
            if port in ports:
                return ports.index(port)
        return self.former_index(port)


@dataclass(frozen=True)
class BalancerHost:
    """A host with a balancer. `systemd` false: the balancer runs under supervisord (a lab of processes)."""

    host: Host
    site: Site

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def systemd(self) -> bool:
        return not self.host.prefix


@dataclass(frozen=True)
class Topology:
    """The app in one environment. `kind` is the balancer's kind, `none` without balancers.

    `web` are the hosts that a run changes; `spared` those that `--limit` leaves out: the balancers know them all the
    same. `helper` is one of the spared ones, which builds the release and runs the release hook and is else left alone.
    `absent` are those that the run cannot reach and goes on without.
    `health_path` is what settings or inference say, `/` otherwise; `health_status` None accepts the usual statuses.
    `health_record` is the health check that a release was built with, in place of that of the settings.
    `relaxed_health_check`: servers in the pools have other health checks than these, so balancers accept what a
    running app may answer. `slowest_start` seconds are what a release that serves may need to start again.
    `templates` are the user's own template folders. `python_version` is the one asked for by settings or code, if any;
    `python_range` is the code's `requires-python` as written. `served_by` names the runtime. `certificate` is the
    user's own with its key, there only where balancers' files are written; `maintenance_page` the user's own HTML.
    `process_hosts` and `schedule_hosts` are the hosts of each process and schedule, a singleton's only one.
    """

    env: str
    settings: Settings
    web: tuple[WebHost, ...]
    balancers: tuple[BalancerHost, ...]
    kind: str
    health_path: str
    health_status: int | None
    health_record: Mapping[str, Any] | None = None
    relaxed_health_check: bool = False
    slowest_start: float = 0.0
    templates: tuple[Path, ...] = ()
    spared: tuple[WebHost, ...] = ()
    helper: WebHost | None = None
    absent: tuple[WebHost, ...] = ()
    python_version: str | None = None
    python_range: str | None = None
    served_by: str = "uvicorn"
    certificate: Certificate | None = None
    maintenance_page: str = ""
    process_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedule_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def everywhere(self) -> tuple[WebHost, ...]:
        """All web hosts of the environment, in the inventory's order, whatever the limit."""
        return tuple(sorted((*self.web, *self.spared, *self.absent), key=lambda web: web.place))

    def asking(self, release: ReleaseFacts | None) -> Topology:
        """Return the same, with the health check that the release was built with, where that is known."""
        record = release.health if release else None
        if not record:
            return self
        return replace(self, health_path=record["path"], health_status=record["status"], health_record=dict(record))

    def beside_serving(self, facts: Facts, target: ReleaseFacts | None = None) -> Topology:
        """Return the same, for a run in which releases that serve now, and `target`, may have health checks of their
        own."""
        checks = {*facts.health_check_digests(), target.health_check_digest if target else ""} - {
            "",
            self.health_check_digest,
        }
        records = [release.health for release in facts.serving_releases() if release.health]
        slowest = max((record.get("within", 0.0) for record in records), default=0.0)
        return replace(self, relaxed_health_check=bool(checks), slowest_start=slowest)

    @property
    def balancers_alone(self) -> Topology:
        """A copy without web hosts, for commands that only talk to balancers."""
        return replace(self, web=(), spared=self.everywhere, absent=(), helper=None)

    @property
    def missing(self) -> int:
        """How many instances are on absent hosts."""
        return sum(web.own.instances for web in self.absent)

    @property
    def leaves_some_out(self) -> bool:
        """Whether the run does not change all of the environment: by `--limit`, or since hosts are away."""
        return bool(self.spared or self.absent)

    def may_be_elsewhere(self, thing: settings_models.Process | settings_models.Schedule) -> bool:
        """Return whether it is a singleton, and may be on a host that the run leaves out."""
        return thing.singleton and self.leaves_some_out

    @property
    def builders(self) -> tuple[WebHost, ...]:
        """The hosts that must have the release: those that change, and the helper."""
        return (*self.web, self.helper) if self.helper else self.web

    @property
    def balancer_adapter(self) -> Balancer:
        """The adapter of the balancers' kind; only where there are balancers."""
        return balancers.get(self.kind)

    @property
    def configures_pools(self) -> bool:
        """Whether deploy writes the balancers' configuration."""
        return bool(self.balancers) and self.settings.balancer.manage and self.balancer_adapter.configures_pools

    @property
    def balancers_use_secrets(self) -> bool:
        """Whether the app's secrets have to be on the balancers' hosts."""
        return bool(self.balancers) and self.balancer_adapter.uses_secrets

    @property
    def drivers(self) -> dict[str, dict[str, Any]]:
        """Balancer host → how its agent drives the app's pool there. SettingsError for a pool that cannot be moved."""
        return {balancer.name: self.balancer_adapter.driver(self.pool(balancer)) for balancer in self.balancers}

    @property
    def why_no_figures(self) -> str:
        """What keeps the balancers from telling what came of requests, in words; empty when nothing does."""
        if not self.balancers:
            return ""
        if self.balancer_adapter.why_no_figures:
            return self.balancer_adapter.why_no_figures
        if not self.settings.balancer.manage:
            return f"deploy reads no figures from a {self.kind} pool that it does not configure"
        return ""

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Every host once, in lock order: balancers first, each part by name."""
        named: dict[str, Host] = {}
        for member in sorted(self.balancers, key=lambda host: host.name):
            named[member.name] = member.host
        for web in sorted(self.builders, key=lambda host: host.name):
            named.setdefault(web.name, web.host)
        return tuple(named.values())

    def site(self, host: str) -> Site:
        """Return the app's site on a host of either part."""
        sites = {web.name: web.site for web in self.builders}
        return sites.get(host) or {balancer.name: balancer.site for balancer in self.balancers}[host]

    def web_host(self, name: str) -> WebHost:
        """Return the web host of that name; KeyError if there is none."""
        for member in (*self.builders, *self.everywhere):
            if member.name == name:
                return member
        raise KeyError(name)

    def supervisor(self, web: WebHost) -> Supervisor:
        """Return the supervisor adapter of a host: the settings' where they name one, else the lab's, else systemd."""
        if "supervisor" in self.settings.model_fields_set:
            return supervisors.get(self.settings.supervisor)
        return supervisors.get(str(web.host.variables.get("deploy_supervisor", self.settings.supervisor)))

    def health(self) -> Health:
        """Return how instances show that they can serve."""
        check = self.settings.health
        own_host = next((value for name, value in check.headers.items() if name.lower() == "host"), "")
        health = Health(
            path=self.health_path,
            status=self.health_status,
            host=own_host or (self.settings.domains[0] if self.settings.domains else ""),
            headers=dict(check.headers),
            every=check.every,
            within=check.within,
            timeout=check.timeout,
            https=self.settings.tls not in (None, "off"),
        )
        return health.recorded(dict(self.health_record)) if self.health_record else health

    @property
    def health_check_digest(self) -> str:
        """A digest of the health check: releases with the same digest share their check."""
        return hashlib.sha256(json.dumps(self.health_request).encode()).hexdigest()[:16]

    @property
    def health_request(self) -> tuple[Any, ...]:
        """The parts that identify a health check: path, status, Host, headers. A release is built for one."""
        check = self.health()
        return (check.path, check.status, check.host, sorted(check.sent_headers.items()))

    def instance(self, web: WebHost, index: int, port: int, bind: str = "") -> Instance:
        """Return one instance in the form of the agent's request; `bind` is how it listens, where not as the
        settings say."""
        return Instance(
            index=index,
            port=port,
            address=probe_address(web, bind),
            verbs=self.supervisor(web).verbs(web.site, port),
            health=self.health(),
            graceful=self.settings.runtime.graceful_timeout,
            socket=self.holds_ports,
        )

    def processes_of(self, web: WebHost) -> list[tuple[str, int]]:
        """Return the processes (name, number) that a host is to have, in the settings' order."""
        return [
            (name, number)
            for name, process in self.settings.processes.items()
            if web.name in self.process_hosts.get(name, ())
            for number in range(1, process.count + 1)
        ]

    def process(self, web: WebHost, name: str, number: int) -> Process:
        """Return one process in the form of the agent's request; one that the settings no longer have is stopped as by
        default."""
        settings = self.settings.processes.get(name)
        graceful = settings.stop_timeout if settings else 60.0
        return Process(name, number, self.supervisor(web).process_verbs(web.site, name, number), graceful)

    def schedules_of(self, web: WebHost) -> list[str]:
        """Return the schedules that a host is to have, in the settings' order."""
        return [name for name in self.settings.schedules if web.name in self.schedule_hosts.get(name, ())]

    def schedule(self, web: WebHost, name: str) -> Schedule:
        """Return one schedule in the form of the agent's request; a run of one that is not known any more has an
        hour."""
        settings = self.settings.schedules.get(name)
        longest = (settings.timeout if settings else 3600.0) + END_OF_RUN
        return Schedule(name, self.supervisor(web).schedule_verbs(web.site, name), longest)

    @property
    def runtime(self) -> Runtime:
        """The adapter of the app's server."""
        return runtimes.get(self.served_by)

    def drains(self, action: Action) -> bool:
        """Return whether an instance to which that happens is taken out of the pools first.

        One that is reloaded goes on serving, so it stays where nobody else could take its requests.
        """
        return action != "reload" or self.instances > 1

    @property
    def holds_ports(self) -> bool:
        """Whether the supervisors hold the ports of instances, so that requests wait while one restarts."""
        strategy = self.settings.rolling.strategy
        return strategy == "socket" or (
            strategy in ("auto", "reload") and not self.balancers and not self.why_no_socket
        )

    @property
    def why_no_socket(self) -> str:
        """What keeps the supervisors from holding the ports, in words; empty when nothing does."""
        for web in self.web:
            supervisor = self.supervisor(web)
            if web.host.prefix or not supervisor.verbs(web.site, web.own.port).socket:
                return f"{supervisor.name} on {web.name} cannot hold a port while a program restarts"
        if not self.runtime.takes_socket:
            return f"a server of the kind {self.served_by} opens its port itself"
        return ""

    def units(self, web: WebHost) -> UnitSpec:
        """Return what the constant units of a host depend on."""
        return UnitSpec(
            site=web.site,
            ports=(*web.ports, *web.spare_ports),
            sockets=web.sockets,
            by_ipv6=web.by_ipv6,
            graceful=self.settings.runtime.graceful_timeout,
            options=self.settings.unit,
            search=self.templates,
            processes=tuple(
                ProcessSpec(name, process.count, process.stop_timeout)
                for name, process in self.settings.processes.items()
                if web.name in self.process_hosts.get(name, ())
            ),
            schedules=tuple(
                ScheduleSpec(name, schedule.times, schedule.timezone, schedule.timeout)
                for name in self.schedules_of(web)
                if (schedule := self.settings.schedules[name])
            ),
        )

    @property
    def instances(self) -> int:
        """All instances of the environment, whatever the limit."""
        return sum(web.own.instances for web in self.everywhere)

    def server(self, host: str, port: int) -> str:
        """Return the balancers' name for a slot."""
        return server_name(host, port)

    def instance_of(self, server: str) -> str:
        """`web1:0`: whose slot that is for the balancers, now or with the ports of before; else the name itself."""
        for web in self.everywhere:
            port = port_in(server, web.name)
            if port is not None:
                return f"{web.name}:{web.index_of(port)}"
        return server

    @property
    def places(self) -> dict[str, str]:
        """Server → `ADDRESS:PORT` where the inventory has it, of all slots, whatever the limit."""
        return {
            server_name(web.name, port): plain_place(web.reached_at, port)
            for web in self.everywhere
            for port in (*web.ports, *web.spare_ports)
        }

    def pool(
        self,
        balancer: BalancerHost,
        others: Mapping[str, str] | None = None,
        known: Mapping[str, str] | None = None,
    ) -> Pool:
        """This app's pool as one balancer host has it.

        `others` (server → `ADDRESS:PORT`) are servers beside those of the inventory: of an earlier one, or slots at
        another address than usual. `known` is where servers are for now, of those that are not where the inventory
        has them.
        """
        settings = self.settings
        former = [Server(name, *parts(at)) for name, at in sorted((others or {}).items())]
        servers = []
        for web in self.everywhere:
            for port in (*web.ports, *web.spare_ports):
                name = server_name(web.name, port)
                address, _ = parts(known[name]) if known and name in known else (web.reached_at, port)
                servers.append(Server(name, address, port, f"{web.name}:{web.index_of(port)}"))
        return Pool(
            site=balancer.site,
            name=settings.balancer.backend or f"{settings.app}-{self.env}",
            servers=(*servers, *former),
            health=replace(self.health(), lenient=self.relaxed_health_check),
            domains=settings.domains,
            listen=str(balancer.host.variables.get("deploy_listen", settings.balancer.listen)),
            socket=balancer.site.system(settings.balancer.socket),
            keepalive=settings.runtime.keepalive,
            https=self._https(balancer),
            maintenance=self.maintenance_page,
            websocket_timeout=settings.balancer.websocket_timeout,
            trusted_proxies=settings.balancer.trusted_proxies,
            www=self._www(balancer),
            options=settings.balancer.model_dump(include={"manage", "drain", "admit", "state", "timeout"}),
        )

    def _www(self, balancer: BalancerHost) -> Www | None:
        """Return the static files on a balancer's host, where every balancer's host has the app."""
        static = self.settings.static
        if static is None or not (self.files_lie_at_balancers and self.balancer_adapter.serves_files):
            return None
        return Www(static.url, f"{balancer.site.current}/{WWW}")

    @property
    def files_lie_at_balancers(self) -> bool:
        """Whether each balancer has the app on its own host, and so its files."""
        web_names = {web.name for web in self.everywhere}
        return bool(self.balancers) and all(balancer.name in web_names for balancer in self.balancers)

    def _https(self, balancer: BalancerHost) -> Https | None:
        tls, own = self.settings.tls, balancer.host.variables
        if tls in (None, "off"):
            return None
        listen = str(own.get("deploy_listen", self.settings.balancer.listen))
        usual = self.settings.balancer.listen_tls or listen.rpartition(":")[0] + ":443"
        listen_tls = str(own.get("deploy_listen_tls", usual))
        if not isinstance(tls, Tls):
            return Https(listen_tls)
        if tls.certificate is not None:
            return Https(listen_tls, self.certificate or Certificate((), 0.0, 0.0, ""))
        return Https(listen_tls, issuer=tls.issuer or "", email=tls.email or "")

    @property
    def longest_switch(self) -> float:
        """Seconds that the longest change of one instance on its host may take: forward, and the way back."""
        health = self.health()
        graceful = self.settings.runtime.graceful_timeout
        forward, back = (max(self.slowest_start, within) for within in (health.within, health.within_again))
        return 2 * (graceful + 15.0 + 5.0) + forward + back


def plain_place(address: str, port: int) -> str:
    """`endpoints.place`, with the address as balancers write it."""
    try:
        return place(str(ipaddress.ip_address(address.strip("[]"))), port)
    except ValueError:
        return place(address, port)


def bind_address(web: WebHost) -> str:
    """Return where instances of a host listen: all addresses on a real host, its own loopback address in a lab; or
    sockets.

    All IPv6 addresses where it is reached at one; servers that can listen at all IPv4 addresses too then do.
    """
    return web.sockets or (web.own.address if web.host.prefix else "::" if web.by_ipv6 else "0.0.0.0")


def probe_address(web: WebHost, bind: str = "") -> str:
    """Return where the agent reaches an instance of its own host; `bind` is how that listens, where not as settings
    say."""
    sockets = web.site.sockets if (bind or web.own.bind) == "unix" else ""
    return sockets or (web.own.address if web.host.prefix else "::1" if web.by_ipv6 else "127.0.0.1")


def trusted(balancers: Sequence[BalancerHost], seen: Sequence[str] = (), *, by_ipv6: bool = False) -> tuple[str, ...]:
    """Return addresses whose forwarded headers count: loopback, every balancer whose address is a literal, and those of
    the balancers' own that the app's host was found to see (`seen`).

    `by_ipv6`: instances listen at IPv6 addresses, where those of IPv4 clients are written as `::ffff:192.0.2.1`.
    """
    addresses = ["127.0.0.1"]
    for balancer in balancers:
        try:
            addresses.append(str(ipaddress.ip_address(balancer.host.ssh.hostname)))
        except ValueError:
            continue
    # A zone is a name that only its own host has for a network.
    literal_addresses = tuple(address for address in dict.fromkeys((*addresses, *seen)) if "%" not in address)
    return (
        (*literal_addresses, "::1", *(f"::ffff:{address}" for address in literal_addresses if "." in address))
        if by_ipv6
        else literal_addresses
    )
