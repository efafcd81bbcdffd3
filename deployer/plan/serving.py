"""Who serves users: judged from the processes of every instance and from the live balancers in front of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass

from deployer.agent.model.messages.balancer import ServerState
from deployer.balancers.base import first_name
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology, WebHost

_NOT_UP = "no balancer sends it requests"
AS_ROOT = "log in as root (-u root), or set ansible_become: true in the inventory"


@dataclass(frozen=True)
class Judgement:
    """The instances that should serve users and are not seen to: `web1:0` → why.

    `down` were seen not to serve. `unknown` are those whose state cannot be read: their host is out of reach, the SSH
    user may not look at their processes, or no balancer that could send them requests can be asked.
    """

    down: Mapping[str, str]
    unknown: Mapping[str, str]


def judge(
    topology: Topology,
    facts: Facts,
    silent: Mapping[str, str] | None = None,
    lost: Set[str] = frozenset(),
    closed: Mapping[str, str] | None = None,
) -> Judgement:
    """Judge every instance. Those that are in neither group of the answer serve, or a person took them out.

    Args:
        facts: what is true on the hosts, with the pools of every balancer that answered.
        silent: balancers that did not answer → why.
        lost: hosts that are out of reach.
        closed: balancers that accept no connection where users connect → why. Nothing is served through them.

    One balancer that sends an instance requests is enough.
    """
    mute, closed = _mute(topology, silent or {}, lost), closed or {}
    down: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for web in topology.web:
        for index in range(len(web.ports)):
            name = f"{web.name}:{index}"
            if web.name in lost:
                unknown[name] = out_of_reach(web.name)
            elif facts[web.name].removed:
                continue
            elif why := _unseen(facts, web, index):
                unknown[name] = why
            elif why := _of_processes(facts, web, index) or _of_balancers(topology, facts, web, index, mute, closed):
                down[name] = why
            elif mute and not _is_settled(topology, facts, web, index, closed):
                unknown[name] = "; ".join(mute.values())
    return Judgement(down, unknown)


def unserved(topology: Topology, facts: Facts, lost: Set[str] = frozenset()) -> Mapping[str, str]:
    """Return the instances that were seen not to serve (`Judgement.down`), by the balancers that answered."""
    return judge(topology, facts, lost=lost).down


def out_of_reach(host: str) -> str:
    """Return why nothing is known of what a host does."""
    return f"{host} is out of reach"


def release_of(facts: Facts, web: WebHost, index: int) -> str | None:
    """Return the release of an instance, by its processes; None where nothing runs."""
    serving = facts[web.name].serving.get(index)
    return serving.release if serving else None


def way_to_serve(
    topology: Topology, facts: Facts, instance: str, silent: Collection[str], closed: Collection[str] = ()
) -> str:
    """Return what to type for an instance that is not seen to serve: about itself, or about the balancer that is at
    fault.

    `silent` are balancers that do not answer, `closed` those that accept no connection from users.
    """
    host, _, index = instance.rpartition(":")
    serving = facts[host].serving.get(int(index)) if host in facts.hosts else None
    if serving is not None and serving.unseen:
        return AS_ROOT
    if host and (serving is None or not serving.proven):
        again = f"deploy push {topology.env} --release current starts them again"
        return f"deploy logs {topology.env} shows their last words, {again}"
    if silent:
        name = next(iter(silent))
        look = f"{_control(topology, name, 'status')} shows its state"
        again = f"deploy push {topology.env} then admits what a run left drained"
        return f"{look}, {_way_to_ask(topology)}; {again}"
    if closed:
        name = next(iter(closed))
        look = f"{_control(topology, name, 'status')} shows its state"
        return f"{_control(topology, name, 'restart')} has it listen again; {look}"
    return f"deploy doctor {topology.env} shows the problem, deploy push {topology.env} writes the pools again"


def _control(topology: Topology, balancer: str, verb: str) -> str:
    """Return the command that has the supervisor of a balancer's host do something with the balancer."""
    systemd = all(member.systemd for member in topology.balancers if member.name == balancer)
    service = topology.balancer_adapter.service
    command = (
        f"systemctl {verb} {service}" if systemd else f"supervisorctl {verb} {service if verb != 'status' else ''}"
    )
    return f"deploy exec {topology.env} -l {balancer} -- {command.strip()}"


def _way_to_ask(topology: Topology) -> str:
    """Return what brings a balancer to answer again, where setup can."""
    if not topology.configures_pools:
        return "start it by its own configuration"
    return f"deploy setup {topology.env} starts it and opens its socket again, or shows how to"


def _mute(topology: Topology, silent: Mapping[str, str], lost: Set[str]) -> dict[str, str]:
    """Return the balancers that cannot be asked, with the reason in words that name the host."""
    reasons = {host: f"{host}: {why}" for host, why in silent.items() if host not in lost}
    away = [balancer.name for balancer in topology.balancers if balancer.name in lost]
    return {**{host: out_of_reach(host) for host in away}, **reasons}


def _unseen(facts: Facts, web: WebHost, index: int) -> str:
    serving = facts[web.name].serving.get(index)
    return serving.why if serving is not None and serving.unseen else ""


def _of_processes(facts: Facts, web: WebHost, index: int) -> str:
    serving = facts[web.name].serving.get(index)
    if serving is not None and serving.proven:
        return ""
    return serving.why if serving and serving.why else "nothing runs"


def _of_balancers(
    topology: Topology, facts: Facts, web: WebHost, index: int, mute: Collection[str], closed: Mapping[str, str]
) -> str:
    """Return why no balancer sends an instance requests; empty where one does, where a person holds it out, or some are
    mute.

    A quarantine holds it out of them all.
    """
    if _held_by(topology, facts, web, index) == "quarantine":
        return "it is in quarantine, so it gets no requests"
    if mute or not facts.pools or _is_settled(topology, facts, web, index, closed):
        return ""
    states = _states(topology, facts, web, index)
    words = [f"{host}: {closed.get(host) or _state(state)}" for host, state in states.items()]
    return f"{_NOT_UP} ({'; '.join(words)})"


def _is_settled(topology: Topology, facts: Facts, web: WebHost, index: int, closed: Collection[str]) -> bool:
    """Return whether a balancer sends an instance requests, or a person took it out."""
    states = [state for host, state in _states(topology, facts, web, index).items() if host not in closed]
    served = any(state and (state["serves"] or state["state"] == "UP") for state in states)
    return served or _held_by(topology, facts, web, index) == "person"


def _held_by(topology: Topology, facts: Facts, web: WebHost, index: int) -> str:
    record = facts.held().get(_server(topology, facts, web, index))
    return record["by"] if record else ""


def _server(topology: Topology, facts: Facts, web: WebHost, index: int) -> str:
    return topology.server(web.name, facts[web.name].serving[index].port)


def _states(topology: Topology, facts: Facts, web: WebHost, index: int) -> dict[str, ServerState | None]:
    server = _server(topology, facts, web, index)
    return {host: _of_slot(servers, server) for host, servers in facts.pools.items()}


def _of_slot(servers: Mapping[str, ServerState], server: str) -> ServerState | None:
    """Return the state of a slot's server; of the one that serves, where a run that died has left the slot two
    addresses."""
    seconds = (state for name, state in servers.items() if first_name(name) == server and state["serves"])
    return next(seconds, servers.get(server))


def _state(state: ServerState | None) -> str:
    if state is None:
        return "it is not in the pool"
    return f"{state['state']} ({state['check']})" if state["check"] else state["state"]
