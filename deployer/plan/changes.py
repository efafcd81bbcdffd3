"""From facts and a wanted release to a plan: who changes, in which waves, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployer.agent.model.release_id import new_release_id
from deployer.balancers.base import first_name
from deployer.plan.draft import DesiredRelease, ReleaseCandidate
from deployer.plan.facts import Facts
from deployer.plan.model import FileChange, InstanceStep, Plan, PlanNotes
from deployer.plan.repairs import venv_repairs
from deployer.plan.rolling import judging, processes
from deployer.plan.rolling.instances import instance_steps
from deployer.plan.rolling.processes import steps_for_processes
from deployer.plan.rolling.reloading import obstacle
from deployer.plan.rolling.schedules import left_alone, steps_for_schedules
from deployer.plan.rolling.slots import (
    leaving,
    left_out,
    require_same_bind,
    require_same_supervisor,
    seconds,
    surplus,
    unused,
)
from deployer.plan.rolling.strategy import Strategy, choose, risks
from deployer.plan.rolling.waves import ordered, size_of, split
from deployer.plan.shared_folders import owners
from deployer.plan.topology import Topology


@dataclass(frozen=True)
class _Situation:
    """The fleet before the run. `moves`: what serves does so only where settings and inventory no longer have it.

    `out` counts the instances that a person took out of the pools, or that nobody can reach.
    """

    nothing_serves: bool
    moves: bool
    out: int


def wanted_by_push(
    draft: ReleaseCandidate, topology: Topology, facts: Facts, planned: str | None = None, *, anew: bool = False
) -> tuple[str, tuple[str, ...]]:
    """Return the release id that a push uses, and the hosts that have to build it. `planned`: the id for a new one.

    `anew`: it is a new one, whatever the hosts have.
    """
    existing_release = None if anew else draft.find_release(facts)
    if existing_release is None:
        release_id = planned or new_release_id(draft.content, _known_releases(topology, facts))
        return release_id, tuple(web.name for web in topology.builders)
    lacking = [
        web.name
        for web in topology.builders
        if (release := facts[web.name].release(existing_release)) is None or not release.complete
    ]
    return existing_release, tuple(lacking)


def _known_releases(topology: Topology, facts: Facts) -> set[str]:
    """Return the releases that a new one must sort after: those that are complete, serve or are `current` somewhere.

    An incomplete folder does not count, for a date of the future in its name would shift all later ids.
    """
    known: set[str | None] = set()
    for web in topology.builders:
        host = facts[web.name]
        known |= {release.id for release in host.releases if release.complete}
        known |= {host.current, *(serving.release for serving in (*host.serving.values(), *host.beside.values()))}
    return {release for release in known if release}


def make_plan(
    desired: DesiredRelease,
    topology: Topology,
    facts: Facts,
    *,
    changes: Sequence[FileChange] = (),
    secrets_changed: Sequence[str] = (),
    notes: PlanNotes = PlanNotes(),  # noqa: B008 (frozen)
) -> Plan:
    """Return the whole plan of a run that brings every instance to `desired.release`.

    Args:
        changes: what the run changes on hosts beside releases.
        secrets_changed: hosts whose secrets are written.
        notes: what the plan tells beside its steps.

    Raises:
        SettingsError: the settings ask for what cannot be done without losing requests.
    """
    require_same_supervisor(topology, facts)
    require_same_bind(topology, facts, desired.release)
    situation = _situation(topology, facts)
    hindered = obstacle(topology, facts, desired, secrets_changed)
    strategy = choose(
        topology,
        nothing_serves=situation.nothing_serves,
        moves=situation.moves,
        all_at_once=desired.all_at_once,
        out=situation.out,
        no_reload=hindered.why if hindered else "",
    )
    # Pools change only in a run that changes files.
    other_addresses = {first_name(name) for name in seconds(topology, facts)} if changes else set()
    changing, kept = instance_steps(desired, topology, facts, strategy, other_addresses)
    if hindered and any(step.action == "reload" for step in changing):
        raise hindered.refused(desired.command)
    steps = _in_order(desired, topology, facts, changing)
    if desired.all_at_once or situation.nothing_serves:
        waves: tuple[tuple[InstanceStep, ...], ...] = (steps,) if steps else ()
    else:
        waves = _waves(topology, strategy, steps, len(changing) + len(kept), situation.out)
    return Plan(
        command=desired.command,
        app=topology.settings.app,
        env=topology.env,
        release=desired.release,
        previous=prevailing_release(facts, topology),
        strategy=strategy.name,
        strategy_why=strategy.why,
        waves=waves,
        kept=tuple(kept),
        builds=desired.builds,
        changes=tuple(changes),
        secrets_changed=tuple(secrets_changed),
        hooks=dict(notes.hooks) if changing else {},
        inferred=tuple(notes.inferred),
        warnings=(
            *notes.warnings,
            *risks(topology, facts, waves, strategy),
            *_farewells(topology, facts),
            *owners.remarks(topology, facts),
            *left_alone(topology, facts),
            *processes.left_alone(topology, facts),
            *processes.forgotten(desired.release, topology, facts),
        ),
        source=notes.source,
        why=desired.why,
        unused=tuple(unused(topology, facts)),
        surplus=tuple(surplus(topology, facts)),
        processes=steps_for_processes(desired.release, desired.restart, topology, facts),
        schedules=steps_for_schedules(desired.release, topology, facts),
        repairs=venv_repairs(desired.release, topology, facts),
        promotes=tuple(web.name for web in topology.web if facts[web.name].current != desired.release),
        judged=judging.describe_judging(topology) if waves and not situation.nothing_serves else "",
    )


def _situation(topology: Topology, facts: Facts) -> _Situation:
    in_known_slots = any(serving.release for web in topology.web for serving in facts[web.name].serving.values())
    elsewhere = bool(surplus(topology, facts)) or bool(set(leaving(topology, facts)) & facts.in_use())
    moves = not in_known_slots and bool(topology.balancers) and elsewhere
    unreachable_servers = {
        topology.server(web.name, port) for web in topology.absent for port in (*web.ports, *web.spare_ports)
    }
    held = [record for name, record in facts.held().items() if name not in unreachable_servers]
    out = topology.missing + sum(record["by"] == "person" for record in held)
    return _Situation(not in_known_slots and not moves, moves, out)


def _in_order(
    desired: DesiredRelease, topology: Topology, facts: Facts, changing: Sequence[InstanceStep]
) -> tuple[InstanceStep, ...]:
    """As `rolling.order` says, but those that no user reaches first: it costs nobody, and brings capacity back."""
    held = facts.held()
    steps = ordered(
        changing, topology.settings.rolling.order, key=[step.host for step in changing], seed=desired.release
    )
    return tuple(sorted(steps, key=lambda s: _missed(facts, s) and topology.server(s.host, s.port) not in held))


def _waves(
    topology: Topology, strategy: Strategy, steps: Sequence[InstanceStep], total: int, out: int
) -> tuple[tuple[InstanceStep, ...], ...]:
    """Return the steps in waves of a fleet of `total` instances, `out` of which are missing already."""
    rolling = topology.settings.rolling
    if strategy.name == "bluegreen":
        at_most = total  # what changes beside what serves costs no capacity
    else:
        at_most = size_of(rolling.max_unavailable, total + topology.missing) - out
    return split(steps, rolling.waves, at_most, of=total)


def _missed(facts: Facts, step: InstanceStep) -> bool:
    """Return whether users depend on it: an instance that does not serve costs no request when it changes."""
    serving = facts[step.host].serving.get(step.index)
    return step.before is not None and (serving is None or serving.proven)


def prevailing_release(facts: Facts, topology: Topology) -> str | None:
    """Return the release that most hosts have as `current`; the newest of them where they are even."""
    counts: dict[str, int] = {}
    for web in topology.web:
        current = facts[web.name].current
        if current:
            counts[current] = counts.get(current, 0) + 1
    return max(counts, key=lambda release: (counts[release], release), default=None)


def _farewells(topology: Topology, facts: Facts) -> list[str]:
    """Return warnings on servers that leave the pools while their app keeps running."""
    stopped_servers = {topology.server(step.host, step.port) for step in surplus(topology, facts)}
    every, slots = leaving(topology, facts), topology.places
    stopped_servers |= {*left_out(topology, facts).others, *(name for name in every if first_name(name) in slots)}
    return [
        f"{name} ({place}) is not in the inventory any more: it leaves the pools at the end, but its app keeps running"
        for name, place in every.items()
        if name not in stopped_servers and name not in facts.spare()
    ]
