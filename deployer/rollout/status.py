"""`deploy status`: what is true now."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, datetime
from typing import Any

from deployer.errors import ChecksError, DeployError
from deployer.events import Bus, Output
from deployer.plan import adopting, slots
from deployer.plan.changes import majority
from deployer.plan.facts import Facts, Scheduled, Serving
from deployer.plan.serving import unserved, way_to_serve
from deployer.plan.topology import Topology, WebHost
from deployer.rollout import certificates, maintenance
from deployer.rollout.holder import holder_text
from deployer.rollout.moments import utc
from deployer.rollout.open import opened
from deployer.rollout.pools import Pools
from deployer.rollout.project import Project
from deployer.rollout.record import Record
from deployer.rollout.run import Run
from deployer.rollout.survey import survey
from deployer.rollout.unfinished import unfinished
from deployer.settings.cron import zone

_CHECKED_S = 3.0
"""For how long `status` looks again at servers that are down: the checks of one that was just started take as long."""


def status(project: Project, bus: Bus, record: Record, *, stop: threading.Event) -> None:
    """Every instance with the release its processes run, its state at each balancer, and whatever is not in order.

    A host that does not answer is shown as such beside the others; at the end it is the error (exit 3). ChecksError at
    the end (exit 7) when an instance does not serve that should. One that a person took out of the pools is in order.
    """
    with opened(project, bus, record, stop, partial=True) as run:
        facts = survey(run, measure=True)
        run.topology = run.topology.beside_serving(facts)
        pools, silent = _pools(run, facts)
        facts = slots.with_pools(run.topology, Facts(facts.hosts, pools))
        record.release = majority(facts, run.topology)
        for web in run.topology.web:
            beside = (*_surplus(run, web, facts), *_processes(run, web, facts), *_schedules(run, web, facts))
            for line in (*_instances(run, web, facts, pools), *beside):
                bus.emit(Output(line, host=web.name))
        for host, found in maintenance.closed(run).items():
            bus.emit(Output(maintenance.told(found), host=host))
        for host, line in (*_notes(run, facts, pools), *certificates.tell(run)):
            bus.emit(Output(line, host=host))
        for line in (*_taking_over(run, facts), *left_unfinished(run, facts)):
            bus.emit(Output(line))
        require_serving(run.topology, facts, run.lost, silent)


def require_serving(
    topology: Topology,
    facts: Facts,
    lost: Set[str] = frozenset(),
    silent: Mapping[str, DeployError] | None = None,
) -> None:
    """ChecksError that names the instances which do not serve users, once something was ever pushed.

    Left out are `lost` hosts and those that the app was taken off. While a run holds the lock, nothing is a failure.
    `silent` are balancers that did not answer.
    """
    if any(facts[host.name].raw.get("lock") for host in topology.hosts if host.name not in lost):
        return
    expected = [web for web in topology.web if web.name not in lost and not facts[web.name].removed]
    if not any(facts[web.name].current for web in expected):
        return
    silent = silent or {}
    down = unserved(topology, facts, {host: error.message for host, error in silent.items()}, lost)
    if down:
        first, why = next(iter(down.items()))
        raise ChecksError(
            f"{len(down)} of {sum(len(web.ports) for web in expected)} instances do not serve: {', '.join(down)}",
            host=first.rpartition(":")[0],
            step="status",
            cause=f"{first}: {why}",
            hint=way_to_serve(topology, facts, first, silent),
            code="not_serving",
        )


def left_unfinished(run: Run, facts: Facts) -> Iterator[str]:
    """The last run, if it did not come to its end, or only half way, and nobody is at it."""
    if any(facts[host].raw.get("lock") for host in run.hosts):
        return
    left = unfinished(run, facts)
    if left is not None:
        env = run.topology.env
        yield (
            f"run {left.run} ({left.command} of {left.release}) {left.how}: deploy push {env} --resume goes on, "
            f"deploy push {env} pushes what is committed, deploy rollback {env} goes back"
        )


def _pools(run: Run, facts: Facts) -> tuple[dict[str, dict[str, Any]], dict[str, DeployError]]:
    """How the balancers see their servers, and those that do not answer. A check that is under way is waited for."""
    until = time.monotonic() + _CHECKED_S
    unproven = set(unserved(run.topology, facts, lost=run.lost))
    while True:
        pools, silent = Pools(run).states_of_answering()
        seen = slots.with_pools(run.topology, Facts(facts.hosts, pools))
        down = set(unserved(run.topology, seen, lost=run.lost)) - unproven
        if not down or silent or time.monotonic() >= until or run.stop.wait(0.5):
            break
    for host, error in silent.items():
        run.warn(f"the balancer does not answer: {error.message}", host=host, hint=error.hint or "")
    return pools, silent


def _instances(run: Run, web: WebHost, facts: Facts, pools: dict[str, dict[str, Any]]) -> Iterator[str]:
    for index, port in enumerate(slots.used_ports(web, facts)):
        serving = facts[web.name].serving.get(index)
        release = serving.release if serving else None
        state = "proven" if serving and serving.proven else (serving.why if serving else "nothing runs")
        if web.name in run.lost:
            state = "its host does not answer"
        takes = {"memory": serving.memory, "age_s": round(serving.age)} if serving and serving.memory else {}
        run.record.instance(web.name, index, port, release, state, **takes)
        server = run.topology.server(web.name, port)
        seen = ", ".join(
            f"{host}: {servers.get(server, {}).get('state', 'unknown')}" for host, servers in pools.items()
        )
        size = f"  {_takes(serving)}" if serving and takes else ""
        yield f"{web.name}:{index} port {port}  {release or '-'}  {state}{size}" + (f"  [{seen}]" if seen else "")
        beside = facts[web.name].beside.get(index)
        if beside:
            yield f"{web.name}:{index} port {beside.port}  {beside.release}  beside it, from a run that did not end"


def _surplus(run: Run, web: WebHost, facts: Facts) -> Iterator[str]:
    """Slots that a run has not come to stop, or that the settings have lost since."""
    for step in slots.surplus(run.topology, facts):
        if step.host == web.name:
            why = f"no longer in the settings: deploy push {run.topology.env} drains and stops it"
            yield f"{web.name} port {step.port}  {step.before}  {why}"


def _takes(serving: Serving) -> str:
    """`212 MB after 3 h`: what an instance has grown to."""
    age = next((f"{serving.age / of:.0f} {unit}" for of, unit in _UNITS if serving.age >= of), f"{serving.age:.0f} s")
    return f"{serving.memory / 1e6:.0f} MB after {age}"


_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def _processes(run: Run, web: WebHost, facts: Facts) -> Iterator[str]:
    for label, found in facts[web.name].processes.items():
        state = "runs" if found.running else found.why
        run.record.process(web.name, label, found.release, state)
        yield f"{web.name}:{label}  {found.release or '-'}  {state}"


def _schedules(run: Run, web: WebHost, facts: Facts) -> Iterator[str]:
    """Each schedule with its release, what keeps it from being run, its next run, and what came of the last one."""
    wanted, current = run.topology.schedules_of(web), facts[web.name].current
    for name, found in facts[web.name].schedules.items():
        if found.release is None and not found.pid and name not in wanted:
            continue
        why = found.why
        if not why and found.release != current:
            why = f"runs in {found.release}, and {current} is current"
        if not why and name not in wanted:
            why = "this host is not to have it"
        told = run.topology.settings.schedules.get(name)
        upcoming = found.next
        if upcoming is None and told and not found.why:
            upcoming = int(told.times.after(datetime.now(UTC), zone(told.timezone)).timestamp())
        run.record.schedule(web.name, name, found.release, why or "scheduled", next=upcoming, last=found.last)
        words = [why or "scheduled", *([f"next {utc(upcoming)} UTC"] if upcoming and not found.why else [])]
        yield f"{web.name}:{name}  {found.release or '-'}  {', '.join((*words, _last(found)))}"


def _last(found: Scheduled) -> str:
    """The run that is under way, or the one before."""
    if found.pid:
        return f"runs now (process {found.pid}), since {utc(found.began)} UTC" if found.began else "runs now"
    if found.began is None:
        return "no run known yet"
    return f"last {utc(found.began)} UTC: {found.result or 'unknown'}"


def _taking_over(run: Run, facts: Facts) -> Iterator[str]:
    """What a person has allowed to be taken over, and is not yet."""
    if run.lost:
        return
    for change in adopting.still_to_do(run.topology, facts):
        hint = f"deploy push {run.topology.env} does it"
        yield f"{change.name} on {change.host} is to be taken over ({change.action}): {hint}"


def _notes(run: Run, facts: Facts, pools: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for host in run.topology.hosts:
        raw, removed = facts[host.name].raw, facts[host.name].removed
        if removed:
            yield host.name, f"taken off by {removed.get('who')}, and still in the inventory"
        if raw.get("lock"):
            lock = raw["lock"]
            yield host.name, f"locked by {holder_text(lock)}"
        if raw.get("frozen"):
            yield host.name, f"frozen by {raw['frozen'].get('who')}: {raw['frozen'].get('reason')}"
        for half in raw.get("half_done") or ():
            yield (
                host.name,
                (
                    f"half done: {half.get('op')} of instance {half.get('instance')} to {half.get('release')} in run "
                    f"{half.get('run')}; deploy push {run.topology.env} heals it"
                ),
            )
    for balancer, servers in pools.items():
        for name, state in servers.items():
            held = state.get("held")
            if held and held.get("by") != "spare":
                since = utc(held.get("since"))
                yield balancer, f"{name} is held out by {held.get('by')} since {since} UTC: {held.get('reason')}"
