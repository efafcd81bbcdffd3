"""What happens to schedules, once the release is the current one: which go to it, and which leave their host."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.agent.model.supervision import Schedule
from deployer.agent.model.typed import Wire
from deployer.plan.facts import Facts
from deployer.plan.model import ScheduleStep
from deployer.plan.topology import Topology, WebHost


def steps_for_schedules(release: str, topology: Topology, facts: Facts) -> tuple[ScheduleStep, ...]:
    """Return the schedules that change: first those that leave their host, so that a singleton never runs on two."""
    going: list[ScheduleStep] = []
    moving: list[ScheduleStep] = []
    for web in topology.web:
        wanted, states = topology.schedules_of(web), facts[web.name].schedules
        for name, state in states.items():
            # Without its link it is off, and a run of it may still be under way.
            if (state.release or state.pid) and name not in wanted:
                going.append(ScheduleStep(web.name, name, "stop", state.release))
        for name in wanted:
            before = states[name].release if name in states else None
            if before is None and topology.may_be_elsewhere(topology.settings.schedules[name]):
                continue
            if before != release or states[name].why:
                moving.append(ScheduleStep(web.name, name, "move" if before else "start", before))
    order = list(topology.settings.schedules)
    moving.sort(key=lambda step: order.index(step.schedule))
    return (*going, *moving)


def left_alone(topology: Topology, facts: Facts) -> list[str]:
    """Return singletons that this run does not start, since hosts that it leaves out may have them, in words."""
    return [
        f"{name} is not started on {web.name}: it runs on one host only, and hosts that this run leaves out may have it"
        for web in topology.web
        for name in topology.schedules_of(web)
        if topology.may_be_elsewhere(topology.settings.schedules[name])
        and not (name in (states := facts[web.name].schedules) and states[name].release)
    ]


def wire(topology: Topology, web: WebHost, name: str) -> Wire[Schedule]:
    """Return the schedule of that name, in the form of the agent's request."""
    return topology.schedule(web, name).to_wire()


def lines_of(steps: Sequence[ScheduleStep]) -> list[str]:
    """Return the steps as a person reads them."""
    lines = []
    for action in ("stop", "start", "move"):
        names = [step.name for step in steps if step.action == action]
        if names:
            lines.append(f"{action} schedules, when the release is current: {', '.join(names)}")
    return lines
