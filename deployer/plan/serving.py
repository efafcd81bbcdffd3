"""Who serves users: judged from the processes of every instance and from the live balancers in front of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

from deployer.balancers.base import first_name
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology, WebHost

_NOT_UP = "no balancer sends it requests"
_NOT_SEEN = "it cannot be seen whether a balancer sends it requests"


def unserved(
    topology: Topology, facts: Facts, silent: Mapping[str, str] | None = None, lost: Set[str] = frozenset()
) -> dict[str, str]:
    """The instances that should serve users and do not: `web1:0` → why.

    Args:
        facts: what is true on the hosts, with the pools of every balancer that answered.
        silent: balancers that did not answer → why.
        lost: hosts that nothing is known of; instances on them are not judged, nor is what balancers on them do.

    An instance that a person took out of the pools is in order. One balancer that sends it requests is enough.
    """
    silent = {host: why for host, why in (silent or {}).items() if host not in lost}
    found: dict[str, str] = {}
    for web in topology.web:
        if web.name in lost or facts[web.name].removed:
            continue
        for index in range(len(web.ports)):
            why = _of_processes(facts, web, index) or _of_balancers(topology, facts, web, index, silent)
            if why:
                found[f"{web.name}:{index}"] = why
    return found


def unseen(facts: Facts, instances: Collection[str], silent: Collection[str]) -> set[str]:
    """Those of `instances` that may serve all the same: their processes are proven, and balancers do not answer.

    `instances` are names that `unserved` returned, and `silent` the balancers that do not answer.
    """
    names = set()
    for instance in instances if silent else ():
        host, _, index = instance.rpartition(":")
        serving = facts[host].serving.get(int(index)) if host in facts.hosts else None
        if serving is not None and serving.proven:
            names.add(instance)
    return names


def release_of(facts: Facts, web: WebHost, index: int) -> str | None:
    """The release of an instance, by its processes; None where nothing runs."""
    serving = facts[web.name].serving.get(index)
    return serving.release if serving else None


def way_to_serve(topology: Topology, facts: Facts, instance: str, silent: Collection[str]) -> str:
    """What to type for an instance that does not serve: about itself, or about the balancer that is at fault.

    `silent` are balancers that do not answer.
    """
    host, _, index = instance.rpartition(":")
    serving = facts[host].serving.get(int(index)) if host in facts.hosts else None
    if host and (serving is None or not serving.proven):
        again = f"deploy push {topology.env} --release current starts them again"
        return f"deploy logs {topology.env} shows their last words, {again}"
    if silent:
        name = next(iter(silent))
        systemd = all(each.systemd for each in topology.balancers if each.name == name)
        service = {"caddy": "deploy-caddy", "command": ""}.get(topology.kind, topology.kind)
        setup = f"deploy setup {topology.env} installs its configuration"
        if systemd and service:
            start = f"deploy exec {topology.env} -l {name} -- systemctl reload-or-restart {service}"
            return f"{start} starts it, or has it open its socket again; {setup}"
        look = "systemctl status" if systemd else "supervisorctl status"
        return f"deploy exec {topology.env} -l {name} -- {look} shows its state, {setup}"
    return f"deploy doctor {topology.env} shows what is wrong, deploy push {topology.env} writes the pools again"


def _of_processes(facts: Facts, web: WebHost, index: int) -> str:
    serving = facts[web.name].serving.get(index)
    if serving is not None and serving.proven:
        return ""
    return serving.why if serving and serving.why else "nothing runs"


def _of_balancers(topology: Topology, facts: Facts, web: WebHost, index: int, silent: Mapping[str, str]) -> str:
    server = topology.server(web.name, facts[web.name].serving[index].port)
    held_by = facts.held().get(server, {}).get("by")
    if held_by == "quarantine":
        return "it is in quarantine, so it gets no requests"
    if held_by == "person" or not (facts.pools or silent):
        return ""
    states = {host: _of_slot(servers, server) for host, servers in facts.pools.items()}
    if any(state and (state.get("serves") or state.get("state") == "UP") for state in states.values()):
        return ""
    words = [f"{host}: {_state(state)}" for host, state in states.items()]
    words += [f"{host} does not answer: {why}" for host, why in silent.items()]
    return f"{_NOT_SEEN if silent else _NOT_UP} ({'; '.join(words)})"


def _of_slot(servers: Mapping[str, Mapping[str, object]], server: str) -> Mapping[str, object] | None:
    """The state of a slot's server; of the one that serves, where a run that died has left the slot two addresses."""
    seconds = (state for name, state in servers.items() if first_name(name) == server and state.get("serves"))
    return next(seconds, servers.get(server))


def _state(state: Mapping[str, object] | None) -> str:
    if state is None:
        return "it is not in the pool"
    check = state.get("check")
    return f"{state.get('state')} ({check})" if check else str(state.get("state"))
