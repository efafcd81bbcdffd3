"""From facts and a wanted release to a plan: who changes, in which waves, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployer.plan.draft import Draft, new_id
from deployer.plan.facts import Facts
from deployer.plan.model import Action, FileChange, Inferred, InstanceStep, Plan
from deployer.plan.topology import Topology
from deployer.plan.waves import ordered, split


@dataclass(frozen=True)
class Wanted:
    """What the run is to bring about. `restart`: also instances that serve it already (reload, new secrets)."""

    command: str
    release: str
    builds: tuple[str, ...] = ()
    restart: bool = False
    why: str = ""
    all_at_once: bool = False


def wanted_by_push(draft: Draft, topology: Topology, facts: Facts) -> tuple[str, tuple[str, ...]]:
    """The release id that a push uses, and the hosts that have to build it."""
    found = draft.found(facts)
    if found is None:
        taken = [release.id for web in topology.web for release in facts[web.name].releases]
        return new_id(draft.content, taken), tuple(web.name for web in topology.web)
    lacking = [
        web.name for web in topology.web if (release := facts[web.name].release(found)) is None or not release.complete
    ]
    return found, tuple(lacking)


def steps_for(wanted: Wanted, topology: Topology, facts: Facts) -> tuple[list[InstanceStep], list[InstanceStep]]:
    """The instances that change, and those that stay as they are."""
    changing: list[InstanceStep] = []
    kept: list[InstanceStep] = []
    held = facts.held()
    for web in topology.web:
        for index, port in enumerate(web.ports):
            serving = facts[web.name].serving.get(index)
            before = serving.release if serving else None
            # One that is quarantined has to go through a wave to come back, whatever it serves.
            quarantined = held.get(topology.server(web.name, port), {}).get("by") == "quarantine"
            fine = serving is not None and serving.proven and before == wanted.release and not quarantined
            action: Action = "keep" if fine and not wanted.restart else ("restart" if before else "start")
            step = InstanceStep(web.name, index, port, action, before)
            (kept if action == "keep" else changing).append(step)
    return changing, kept


def plan_of(
    wanted: Wanted,
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
    settings = topology.settings
    changing, kept = steps_for(wanted, topology, facts)
    rolling = settings.rolling
    in_order = ordered(changing, rolling.order, key=[step.host for step in changing], seed=wanted.release)
    nothing_serves = not any(step.before for step in (*changing, *kept))
    if wanted.all_at_once or nothing_serves:
        waves: tuple[tuple[InstanceStep, ...], ...] = (tuple(in_order),) if in_order else ()
    else:
        waves = split(in_order, rolling.waves, rolling.max_unavailable, of=len(changing) + len(kept))
    strategy_why = why_restart(topology, nothing_serves, wanted.all_at_once)
    previous = majority(facts, topology)
    return Plan(
        command=wanted.command,
        app=settings.app,
        env=topology.env,
        release=wanted.release,
        previous=previous,
        strategy="restart",
        strategy_why=strategy_why,
        waves=waves,
        kept=tuple(kept),
        builds=wanted.builds,
        changes=tuple(changes),
        secrets_changed=tuple(secrets_changed),
        hooks=dict(hooks or {}) if changing else {},
        inferred=tuple(inferred),
        warnings=(*warnings, *risks(topology, waves, nothing_serves)),
        source=source,
        why=wanted.why,
        promotes=tuple(web.name for web in topology.web if facts[web.name].current != wanted.release),
    )


def majority(facts: Facts, topology: Topology) -> str | None:
    """The release that most hosts have as `current`; the newest of them where they are even."""
    counts: dict[str, int] = {}
    for web in topology.web:
        current = facts[web.name].current
        if current:
            counts[current] = counts.get(current, 0) + 1
    return max(counts, key=lambda release: (counts[release], release), default=None)


def why_restart(topology: Topology, nothing_serves: bool, all_at_once: bool) -> str:
    """One line on the chosen strategy."""
    if nothing_serves:
        return "nothing serves yet, so all instances start together"
    if all_at_once:
        return "all instances restart together, as was asked"
    if topology.balancers:
        return f"each instance is drained at {topology.kind} before it stops"
    return "there is no balancer to drain an instance at"


def risks(topology: Topology, waves: Sequence[Sequence[InstanceStep]], nothing_serves: bool) -> list[str]:
    """What a person should know before this plan runs."""
    found = []
    if not topology.balancers and topology.settings.domains:
        names = ", ".join(topology.settings.domains)
        found.append(
            f"nothing serves {names} at port 80: there is no balancer host, and instances listen at their own ports"
        )
    restarting = [sum(step.action == "restart" for step in wave) for wave in waves]
    if nothing_serves or not any(restarting):
        return found
    total = sum(web.own.instances for web in topology.web)
    if not topology.balancers:
        found.append("there is no balancer: requests are refused while an instance restarts")
    elif total == 1:
        found.append("there is one instance only: the balancer has nobody to send requests to while it restarts")
    elif max(restarting) == total:
        found.append("all instances restart together: the balancer has nobody to send requests to meanwhile")
    return found
