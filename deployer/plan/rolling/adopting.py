"""What another tool runs and a person has allowed to take over: what is left to be done of that, and the way back."""

from __future__ import annotations

from deployer.agent.model.messages.takeover import RecordedFront, RecordedUnit
from deployer.plan.facts import Facts, HostFacts
from deployer.plan.model import FileChange
from deployer.plan.topology import Topology

FRONT, UNIT = "front", "foreign unit"
"""Kinds of changes in a plan: these come last of all, once the app's own instances serve."""


def pending_units(host_facts: HostFacts) -> list[RecordedUnit]:
    """Return the foreign units of a host that are to be retired and still serve, as they were recorded."""
    return [unit for unit in _units(host_facts) if unit["state"] != "retired"]


def foreign_ports(host_facts: HostFacts) -> set[int]:
    """Return ports of the app at which a foreign unit, which is to be retired, still listens."""
    return {int(port) for unit in pending_units(host_facts) for port in unit["ports"]}


def still_to_do(topology: Topology, facts: Facts) -> list[FileChange]:
    """Return what comes after the waves: the foreign frontends are led to the app's pool, then the foreign units
    retire.

    None where a part of the environment is left out: users would be sent to a pool that lacks some.
    """
    return [] if topology.leaves_some_out else _left(topology, facts)


def held_back(topology: Topology, facts: Facts) -> list[str]:
    """Return why nothing is taken over in this run, for a person; none when nothing keeps it, or there is nothing."""
    if not topology.leaves_some_out or not _left(topology, facts):
        return []
    return ["what another tool runs is taken over by a push to all hosts, and this one leaves some out"]


def _left(topology: Topology, facts: Facts) -> list[FileChange]:
    """Return what was allowed and has not come to its end, in the order in which it is done."""
    changes = []
    for balancer in topology.balancers:
        front = front_of(facts[balancer.name])
        if front and front["state"] != "moved":
            changes.append(FileChange(balancer.name, FRONT, str(front["path"]), "lead", str(front["diff"])))
    for web in topology.web:
        changes += [FileChange(web.name, UNIT, str(unit["unit"]), "retire") for unit in pending_units(facts[web.name])]
    return changes


def way_back(topology: Topology, facts: Facts) -> str:
    """Return what a person types to have the foreign units serve again; empty where none was taken over."""
    starts = [
        f"{unit.get('start') or _enables(unit)} on {web.name}"
        for web in topology.web
        for unit in _units(facts[web.name])
        if unit["state"] != "recorded"
    ]
    fronts = [
        f"on {balancer.name} the lines of {front['path']} as {balancer.site.front_before} has them "
        f"({' and '.join(front['backends'])} in place of {front['backend']}), "
        f"then systemctl reload {front.get('kind', 'haproxy')}"
        for balancer in topology.balancers
        if (front := front_of(facts[balancer.name])) and front["state"] != "recorded"
    ]
    taken = sorted(_taken_by_ours(topology, facts)) if starts else []
    first = f"another `port:` in deploy.yaml and deploy push {topology.env}, for ours has port {', '.join(taken)} now"
    return "; ".join([*([first] if taken else []), *starts, *fronts])


def _enables(unit: RecordedUnit) -> str:
    return f"systemctl {'enable --now' if unit.get('enabled') else 'start'} {unit['unit']}"


def _taken_by_ours(topology: Topology, facts: Facts) -> set[str]:
    """Return ports of the foreign units at which the app's own instances serve now."""
    return {
        str(port)
        for web in topology.web
        for unit in _units(facts[web.name])
        for port in unit["ports"]
        if any(serving.release and serving.port == port for serving in facts[web.name].serving.values())
    }


def front_of(host_facts: HostFacts) -> RecordedFront | None:
    """Return the foreign frontends of a balancer, as they were recorded."""
    return host_facts.adoption["front"] if host_facts.adoption else None


def _units(host_facts: HostFacts) -> list[RecordedUnit]:
    return host_facts.adoption["units"] if host_facts.adoption else []
