"""From facts and a wanted release to a plan: who changes, in which waves, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from deployer.agent.model.release_id import new_release_id
from deployer.balancers.base import first_name
from deployer.plan.draft import ReleaseCandidate
from deployer.plan.facts import Facts, Serving
from deployer.plan.model import Action, FileChange, Inferred, InstanceStep, Plan
from deployer.plan.repairs import venv_repairs
from deployer.plan.rolling import judging, processes
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
    used_ports,
)
from deployer.plan.rolling.strategy import Strategy, choose, risks
from deployer.plan.rolling.waves import ordered, size_of, split
from deployer.plan.shared_folders import owners
from deployer.plan.topology import Topology


@dataclass(frozen=True)
class DesiredRelease:
    """What the run is to bring about. `restart`: also instances that serve it already (reload, new secrets).

    `starts` tells by host how a release starts (`Start.sha`) that is still to be built, and `venvs` the virtualenv that
    it gets, as far as that is known.
    """

    command: str
    release: str
    builds: tuple[str, ...] = ()
    restart: bool = False
    why: str = ""
    all_at_once: bool = False
    starts: Mapping[str, str] = field(default_factory=dict)
    venvs: Mapping[str, str] = field(default_factory=dict)


def wanted_by_push(
    draft: ReleaseCandidate, topology: Topology, facts: Facts, planned: str | None = None, *, anew: bool = False
) -> tuple[str, tuple[str, ...]]:
    """The release id that a push uses, and the hosts that have to build it. `planned`: the id for a new one.

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
    """The releases that a new one must sort after: those that are complete, serve or are `current` somewhere.

    An incomplete folder does not count, for a date of the future in its name would shift all later ids.
    """
    known: set[str | None] = set()
    for web in topology.builders:
        host = facts[web.name]
        known |= {release.id for release in host.releases if release.complete}
        known |= {host.current, *(serving.release for serving in (*host.serving.values(), *host.beside.values()))}
    return {release for release in known if release}


def instance_steps(
    wanted: DesiredRelease, topology: Topology, facts: Facts, strategy: Strategy, elsewhere: Set[str] = frozenset()
) -> tuple[list[InstanceStep], list[InstanceStep]]:
    """The instances that change, and those that stay as they are.

    `elsewhere` are servers that come to another address, for which there has to be a wave.
    """
    changing: list[InstanceStep] = []
    kept: list[InstanceStep] = []
    held, unexplained = facts.held(), facts.unexplained()
    for web in topology.web:
        for index, used in enumerate(used_ports(web, facts)):
            serving, beside = facts[web.name].serving.get(index), facts[web.name].beside.get(index)
            # One that is quarantined has to go through a wave to come back, whatever it serves.
            quarantined = held.get(topology.server(web.name, used), {}).get("by") == "quarantine"
            before = serving.release if serving else None
            leaves = beside.port if beside else None
            as_held = topology.holds_ports == facts[web.name].holds_port(used)
            held_as_wanted = as_held or strategy.action == "reload"
            fine = _serves(serving, wanted) and not quarantined and not beside and held_as_wanted
            if fine and topology.server(web.name, used) in unexplained | elsewhere:
                # Its name or place is new to a balancer, which waits to be told that it serves.
                changing.append(InstanceStep(web.name, index, used, "settle", before))
            elif fine:
                kept.append(InstanceStep(web.name, index, used, "keep", before))
            elif beside and _serves(beside, wanted):
                changing.append(InstanceStep(web.name, index, beside.port, "settle", before, used))
            elif beside and _serves(serving, wanted):
                changing.append(InstanceStep(web.name, index, used, "settle", before, leaves))
            elif strategy.action == "reload" and serving and serving.proven and not quarantined and not beside:
                changing.append(InstanceStep(web.name, index, used, "reload", before))
            elif before and strategy.action == "replace":
                changing.append(InstanceStep(web.name, index, web.other(used), "replace", before, used))
            else:
                action: Action = "restart" if before else "start"
                changing.append(InstanceStep(web.name, index, used, action, before, leaves))
    return changing, kept


def _serves(serving: Serving | None, wanted: DesiredRelease) -> bool:
    return bool(serving and serving.proven and serving.release == wanted.release and not wanted.restart)


def make_plan(
    wanted: DesiredRelease,
    topology: Topology,
    facts: Facts,
    *,
    changes: Sequence[FileChange] = (),
    secrets_changed: Sequence[str] = (),
    inferred: Sequence[Inferred] = (),
    warnings: Sequence[str] = (),
    hooks: Mapping[str, str] | None = None,
    source: str = "",
) -> Plan:
    """The whole plan of a run that brings every instance to `wanted.release`."""
    require_same_supervisor(topology, facts)
    require_same_bind(topology, facts, wanted.release)
    settings = topology.settings
    in_known_slots = any(serving.release for web in topology.web for serving in facts[web.name].serving.values())
    elsewhere = bool(surplus(topology, facts)) or bool(set(leaving(topology, facts)) & facts.in_use())
    moves = not in_known_slots and bool(topology.balancers) and elsewhere
    nothing_serves = not in_known_slots and not moves
    held = facts.held()
    unreachable_servers = {
        topology.server(web.name, port) for web in topology.absent for port in (*web.ports, *web.spare_ports)
    }
    out = topology.missing + sum(r["by"] == "person" for name, r in held.items() if name not in unreachable_servers)
    hindered = obstacle(
        topology,
        facts,
        wanted.release,
        command=wanted.command,
        starts=wanted.starts,
        venvs=wanted.venvs,
        secrets_changed=secrets_changed,
    )
    strategy = choose(
        topology,
        nothing_serves=nothing_serves,
        moves=moves,
        all_at_once=wanted.all_at_once,
        out=out,
        no_reload=hindered.why if hindered else "",
    )
    # Pools change only in a run that changes files.
    other_addresses = {first_name(name) for name in seconds(topology, facts)} if changes else set()
    changing, kept = instance_steps(wanted, topology, facts, strategy, other_addresses)
    if hindered and any(step.action == "reload" for step in changing):
        raise hindered.refused(wanted.command)
    rolling = settings.rolling
    in_order = ordered(changing, rolling.order, key=[step.host for step in changing], seed=wanted.release)
    # Those that no user reaches come first: it costs nobody, and capacity is back for the others.
    in_order = tuple(sorted(in_order, key=lambda s: _missed(facts, s) and topology.server(s.host, s.port) not in held))
    if wanted.all_at_once or nothing_serves:
        waves: tuple[tuple[InstanceStep, ...], ...] = (tuple(in_order),) if in_order else ()
    else:
        total = len(changing) + len(kept)
        # What changes beside what serves costs no capacity; else those that are out already count.
        at_most = (
            total if strategy.name == "bluegreen" else size_of(rolling.max_unavailable, total + topology.missing) - out
        )
        waves = split(in_order, rolling.waves, at_most, of=total)
    previous = prevailing_release(facts, topology)
    return Plan(
        command=wanted.command,
        app=settings.app,
        env=topology.env,
        release=wanted.release,
        previous=previous,
        strategy=strategy.name,
        strategy_why=strategy.why,
        waves=waves,
        kept=tuple(kept),
        builds=wanted.builds,
        changes=tuple(changes),
        secrets_changed=tuple(secrets_changed),
        hooks=dict(hooks or {}) if changing else {},
        inferred=tuple(inferred),
        warnings=(
            *warnings,
            *risks(topology, facts, waves, strategy),
            *_farewells(topology, facts),
            *owners.remarks(topology, facts),
            *left_alone(topology, facts),
            *processes.left_alone(topology, facts),
            *processes.forgotten(wanted.release, topology, facts),
        ),
        source=source,
        why=wanted.why,
        unused=tuple(unused(topology, facts)),
        surplus=tuple(surplus(topology, facts)),
        processes=steps_for_processes(wanted.release, wanted.restart, topology, facts),
        schedules=steps_for_schedules(wanted.release, topology, facts),
        repairs=venv_repairs(wanted.release, topology, facts),
        promotes=tuple(web.name for web in topology.web if facts[web.name].current != wanted.release),
        judged=judging.describe_judging(topology) if waves and not nothing_serves else "",
    )


def _missed(facts: Facts, step: InstanceStep) -> bool:
    """Whether users would miss it: what is not in order costs nobody when it changes."""
    serving = facts[step.host].serving.get(step.index)
    return step.before is not None and (serving is None or serving.proven)


def prevailing_release(facts: Facts, topology: Topology) -> str | None:
    """The release that most hosts have as `current`; the newest of them where they are even."""
    counts: dict[str, int] = {}
    for web in topology.web:
        current = facts[web.name].current
        if current:
            counts[current] = counts.get(current, 0) + 1
    return max(counts, key=lambda release: (counts[release], release), default=None)


def _farewells(topology: Topology, facts: Facts) -> list[str]:
    """Servers that leave the pools, where nobody can be asked to stop what runs there."""
    stopped_servers = {topology.server(step.host, step.port) for step in surplus(topology, facts)}
    every, slots = leaving(topology, facts), topology.places
    stopped_servers |= {*left_out(topology, facts).others, *(name for name in every if first_name(name) in slots)}
    return [
        f"{name} ({place}) is not in the inventory any more: it leaves the pools at the end, and the app runs on there"
        for name, place in every.items()
        if name not in stopped_servers and name not in facts.spare()
    ]
