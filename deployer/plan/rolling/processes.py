"""What happens to the processes beside the instances: who moves to the release, in which order, and who goes."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.agent.model.supervision import Process, label_of, parts_of
from deployer.agent.model.typed import Wire
from deployer.plan.facts import Facts
from deployer.plan.model import ProcessStep
from deployer.plan.topology import Topology, WebHost


def steps_for_processes(release: str, restart: bool, topology: Topology, facts: Facts) -> tuple[ProcessStep, ...]:
    """Return the processes that change, in order: singletons leave other hosts, the settings' own in theirs, then what
    goes.

    Args:
        release: what they are to run. `restart`: also those that run it already (a reload, new secrets).
    """
    settings = topology.settings.processes
    moving: list[ProcessStep] = []
    going: list[ProcessStep] = []
    for web in topology.web:
        wanted, states = topology.processes_of(web), facts[web.name].processes
        for name, number in wanted:
            state = states.get(label_of(name, number))
            before = state.release if state else None
            if before is None and topology.may_be_elsewhere(topology.settings.processes[name]):
                continue
            if restart or not (state and state.running and before == release):
                moving.append(ProcessStep(web.name, name, number, "restart" if before else "start", before))
        for label, state in states.items():
            name, number = parts_of(label)
            if state.release and (name, number) not in wanted:
                alone = name in settings and settings[name].singleton
                going.append(ProcessStep(web.name, name, number, "stop", state.release, first=alone))
    order = list(settings)
    moving.sort(key=lambda step: order.index(step.process))
    return (*(step for step in going if step.first), *moving, *(step for step in going if not step.first))


def left_alone(topology: Topology, facts: Facts) -> list[str]:
    """Return singletons that this run does not start, since hosts that it leaves out may have them, in words."""
    return [
        f"{name} is not started on {web.name}: it runs on one host only, and hosts that this run leaves out may have it"
        for web in topology.web
        for name, number in topology.processes_of(web)
        if topology.may_be_elsewhere(topology.settings.processes[name])
        and not ((state := facts[web.name].processes.get(label_of(name, number))) and state.release)
    ]


def forgotten(release: str, topology: Topology, facts: Facts) -> list[str]:
    """Return processes that an earlier release has and today's settings have not, so that nobody starts them,
    in words."""
    known = facts.known(release)
    names = [name for name in (known.processes if known else ()) if name not in topology.settings.processes]
    if not names:
        return []
    return [
        f"{release} was built with {', '.join(names)} in `processes`, which the settings no longer have: not started; "
        "write it there again to have it with that release"
    ]


def wire(topology: Topology, web: WebHost, label: str) -> Wire[Process]:
    """Return the process that a host calls `label`, in the form of the agent's request."""
    return topology.process(web, *parts_of(label)).to_wire()


def lines_of(steps: Sequence[ProcessStep]) -> list[str]:
    """Return the steps as a person reads them."""
    lines = []
    for action in ("start", "restart", "stop"):
        names = [step.name for step in steps if step.action == action]
        if names:
            when = "" if action == "stop" else " before the instances"
            lines.append(f"{action} processes{when}: {', '.join(names)}")
    return lines
