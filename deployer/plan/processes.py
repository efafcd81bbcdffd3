"""What happens to the processes beside the instances: who moves to the release, in which order, and who goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployer.plan.facts import Facts
from deployer.plan.model import ProcessAction, ProcessStep
from deployer.plan.topology import Topology, WebHost, label_of


def steps_for_processes(release: str, restart: bool, topology: Topology, facts: Facts) -> tuple[ProcessStep, ...]:
    """The processes that change, in order: singletons leave other hosts, the settings' own in theirs, then what goes.

    Args:
        release: what they are to run. `restart`: also those that run it already (a reload, new secrets).
    """
    wanted = {web.name: topology.processes_of(web) for web in topology.web}
    singletons = {name for name, process in topology.settings.processes.items() if process.singleton}
    moving: list[ProcessStep] = []
    for name in topology.settings.processes:
        for web in topology.web:
            for number in [number for process, number in wanted[web.name] if process == name]:
                found = facts[web.name].processes.get(label_of(name, number))
                before = found.release if found else None
                if found and found.running and before == release and not restart:
                    continue
                moving.append(ProcessStep(web.name, name, number, "restart" if before else "start", before))
    going = [
        ProcessStep(web.name, process, number, "stop", found.release, first=process in singletons)
        for web in topology.web
        for label, found in facts[web.name].processes.items()
        for process, _, digits in [label.partition("@")]
        for number in [int(digits)]
        if found.release and (process, number) not in wanted[web.name]
    ]
    return (*(step for step in going if step.first), *moving, *(step for step in going if not step.first))


def wire(topology: Topology, web: WebHost, label: str) -> dict[str, Any]:
    """The process that a host calls `label`, as its agent is told about it."""
    name, _, number = label.partition("@")
    return topology.process(web, name, int(number)).to_wire()


def lines_of(steps: Sequence[ProcessStep]) -> list[str]:
    """The steps as a person reads them."""
    verbs: Mapping[ProcessAction, str] = {"start": "start", "restart": "restart", "stop": "stop"}
    lines = []
    for action, verb in verbs.items():
        names = [step.name for step in steps if step.action == action]
        if names:
            when = "" if action == "stop" else " before the instances"
            lines.append(f"{verb} processes{when}: {', '.join(names)}")
    return lines
