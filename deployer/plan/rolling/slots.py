"""Which of an instance's two slots counts, when a run died between a successor's start and its predecessor's end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import count

from deployer.balancers.base import first_name, port_in, second_name
from deployer.errors import SettingsError
from deployer.plan.facts import Facts, HostFacts, Serving
from deployer.plan.model import InstanceStep
from deployer.plan.rolling.adopting import foreign_ports
from deployer.plan.topology import Topology, WebHost


def ranked(web: WebHost, states: Mapping[int, Serving], current: str | None) -> tuple[dict[int, Serving], ...]:
    """`serving` and `beside` of a host from what its slots in use (port → state) show.

    What proves its release counts before what does not, then the current release before another, then the first slot.
    An instance without a slot in use is in neither, unless a state of its first slot says why.
    """
    serving: dict[int, Serving] = {}
    beside: dict[int, Serving] = {}
    for index in range(len(web.ports)):
        candidates = [states[port] for port in web.slots(index) if port in states]
        best = sorted(candidates, key=lambda state: (not state.proven, state.release != current))
        if best:
            serving[index] = best[0]
        if best[1:] and best[1].release:
            beside[index] = best[1]
    return serving, beside


def with_pools(topology: Topology, facts: Facts) -> Facts:
    """Return the same facts, in which a slot that the balancers keep as spare does not count before one that
    they use."""
    spare = facts.spare()
    hosts = dict(facts.hosts)
    for web in topology.web:
        hosts[web.name] = _swapped(topology, web, facts[web.name], spare)
    return Facts(hosts, facts.pools)


def _swapped(topology: Topology, web: WebHost, host_facts: HostFacts, spare: Set[str]) -> HostFacts:
    serving, beside = dict(host_facts.serving), dict(host_facts.beside)
    for index, other in host_facts.beside.items():
        named = [topology.server(web.name, instance.port) in spare for instance in (serving[index], other)]
        if named == [True, False] and other.proven:
            serving[index], beside[index] = other, serving[index]
    return replace(host_facts, serving=serving, beside=beside)


def require_same_bind(topology: Topology, facts: Facts, release: str) -> None:
    """Raise SettingsError where a release that serves, or `release`, listens otherwise than `bind` says now.

    A slot is known to everybody as one place: what listens elsewhere would be looked for in vain.
    """
    for web in topology.web:
        host_facts = facts[web.name]
        slots = host_facts.slots
        known = {*web.ports, *web.spare_ports}
        release_ids = [*(used for port, used in sorted(slots.items()) if port in known), release]
        for record in filter(None, map(host_facts.release, release_ids)):
            if record.bind != web.own.bind:
                other = max(known) + 1
                raise SettingsError(
                    f"bind is {web.own.bind}, and {record.id} listens {_BINDS[record.bind]} in the same slots",
                    host=web.name,
                    step="plan",
                    hint=f"to change bind, also change port: (such as {other}), so that the new slots start beside "
                    "the old ones. To go back to such a release: restore its bind and port, and push",
                )


def require_same_supervisor(topology: Topology, facts: Facts) -> None:
    """Raise SettingsError where what serves is run by another supervisor than `supervisor` says now: nobody could stop
    it."""
    for web in topology.web:
        expected = topology.supervisor(web).name
        for port, holder in sorted(facts[web.name].ports.items()):
            if web.host.prefix or not holder or not holder["ours"]:
                continue
            units = {f"{topology.settings.app}@{port}.service": "systemd", "supervisor.service": "supervisord"}
            actual = units.get(holder["unit"], expected)
            if actual != expected:
                raise SettingsError(
                    f"supervisor is {expected}, and {actual} runs the instance at port {port}",
                    host=web.name,
                    step="plan",
                    hint=f"to change it, host by host: deploy remove {topology.env} -l {web.name} with `supervisor: "
                    f"{actual}`, then deploy setup {topology.env} and deploy push {topology.env} with "
                    f"`supervisor: {expected}`",
                )


_BINDS = {"port": "at ports", "unix": "at UNIX sockets"}


def used_ports(web: WebHost, facts: Facts) -> list[int]:
    """Return the slot of each instance that counts, by index; the first one where none is in use."""
    host_facts = facts[web.name]
    return [
        host_facts.serving[index].port if index in host_facts.serving else free_slot(web, index, host_facts)
        for index in range(len(web.ports))
    ]


def free_slot(web: WebHost, index: int, host_facts: HostFacts) -> int:
    """Return where an instance starts that nothing serves in: its first slot, or beside a foreign unit that still has
    that."""
    first, spare = web.slots(index)
    return spare if first in foreign_ports(host_facts) else first


def surplus(topology: Topology, facts: Facts) -> list[InstanceStep]:
    """Return what runs in slots that the settings no longer have: fewer instances, or other ports.

    `leaves` is the slot.
    """
    steps = []
    for web in topology.web:
        known = {*web.ports, *web.spare_ports}
        for port, release in sorted(facts[web.name].slots.items()):
            if port not in known:
                record = facts[web.name].release(release)
                bind = record.bind if record else ""
                index = web.former_index(port)
                steps.append(InstanceStep(web.name, index, port, "keep", release, port, bind))
    return steps


def moved(topology: Topology, facts: Facts) -> dict[str, str]:
    """Server → `ADDRESS:PORT` where a balancer knows it, of those that the inventory has elsewhere now."""
    if not topology.settings.balancer.manage:
        return {}
    endpoints = topology.places
    return {name: at for name, at in _known(facts) if name in endpoints and at != endpoints[name]}


def seconds(topology: Topology, facts: Facts) -> dict[str, str]:
    """Second name → `ADDRESS:PORT` where the inventory has a slot of the run's hosts that is in use elsewhere.

    A slot that is not in use is where the inventory has it without further ado.
    """
    hosts, idle, endpoints = [web.name for web in topology.web], facts.spare(), topology.places
    return {
        second_name(name): endpoints[name]
        for name in moved(topology, facts)
        if name not in idle and any(port_in(name, host) is not None for host in hosts)
    }


def leaving(topology: Topology, facts: Facts) -> dict[str, str]:
    """Server → `ADDRESS:PORT` of those that balancers know and that the inventory and settings no longer have.

    So are second names of a slot at a place where neither the inventory nor the slot's own name has it.
    """
    if not topology.settings.balancer.manage:
        return {}
    endpoints, elsewhere, idle = topology.places, moved(topology, facts), facts.spare()
    addresses: dict[str, str] = {}
    for name, at in _known(facts):
        first = first_name(name)
        if first not in endpoints:
            addresses[name] = at
        elif name != first and name not in idle and at not in (endpoints[first], elsewhere.get(first)):
            names = (second_name(first, number) for number in count(3))
            addresses[next(alias for alias in names if addresses.get(alias, at) == at)] = at
    return addresses


@dataclass(frozen=True)
class Standing:
    """What of the pools is not as the inventory has it.

    `others` (server → `ADDRESS:PORT`) are servers that the inventory does not have, or has at another address; `known`
    says where its own servers are for now.
    """

    others: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)

    def of(self, hosts: Collection[str]) -> Standing:
        """Return the part that is about these hosts."""
        return Standing(_of(hosts, self.others), _of(hosts, self.known))

    def without(self, hosts: Collection[str]) -> Standing:
        """Return the part that is about all others."""
        others, known = _of(hosts, self.others), _of(hosts, self.known)
        return Standing(
            {name: at for name, at in self.others.items() if name not in others},
            {name: at for name, at in self.known.items() if name not in known},
        )


def standing(topology: Topology, facts: Facts) -> Standing:
    """Return the pools as the balancers know them: no server goes, and none comes to another address."""
    endpoints = topology.places
    twins = {name: at for name, at in _known(facts) if name not in endpoints and at == endpoints.get(first_name(name))}
    return Standing({**leaving(topology, facts), **twins}, moved(topology, facts))


def _known(facts: Facts) -> list[tuple[str, str]]:
    """Return every server and where a balancer knows it."""
    pairs = [pair for servers in facts.pools.values() for pair in servers.items()]
    return [(name, state["address"]) for name, state in pairs if state.get("address")]


def left_out(topology: Topology, facts: Facts) -> Standing:
    """Return what stays as the balancers know it of the hosts that the run leaves as they are."""
    return standing(topology, facts).of([web.name for web in (*topology.spared, *topology.absent)])


def _of(hosts: Collection[str], servers: Mapping[str, str]) -> dict[str, str]:
    return {name: at for name, at in servers.items() if any(port_in(name, host) is not None for host in hosts)}


def unused(topology: Topology, facts: Facts) -> list[tuple[str, int]]:
    """(host, port) of the slots of the run's hosts in which nothing serves and nothing is about to, as they are now."""
    free = []
    for web in topology.web:
        busy = {*used_ports(web, facts), *(serving.port for serving in facts[web.name].beside.values())}
        free += [(web.name, port) for port in (*web.ports, *web.spare_ports) if port not in busy]
    return free
