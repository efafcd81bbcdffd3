"""`deploy status`: what is true now."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import UTC, datetime
from typing import Literal

from deployer.agent.model.messages.balancer import ServerState
from deployer.agent.model.messages.lock import Holder
from deployer.errors import ChecksError, DeployError
from deployer.events import Text
from deployer.plan.changes import prevailing_release
from deployer.plan.facts import Facts
from deployer.plan.rolling import adopting, slots
from deployer.plan.serving import Judgement, judge, unserved, way_to_serve
from deployer.plan.topology import Topology, WebHost
from deployer.rollout.pools import certificates
from deployer.rollout.pools.pools import Pools
from deployer.rollout.queries.status_data import (
    NO_ANSWER,
    FreezeStatus,
    HalfDone,
    HeldOut,
    InstanceStatus,
    LockStatus,
    MaintenanceStatus,
    ProcessStatus,
    RemovedStatus,
    ScheduleStatus,
    SlotStatus,
    Status,
    SurplusStatus,
    Takeover,
    UnfinishedRun,
)
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.holder import is_stuck
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run
from deployer.rollout.run.unfinished import unfinished
from deployer.rollout.steps.survey import survey
from deployer.rollout.traffic import maintenance_page
from deployer.rollout.traffic.entrances import closed_entrances
from deployer.settings.cron import zone

_CHECKED_S = 3.0
"""For how long `status` looks again at servers that are down: the checks of one that was just started take as long."""


def status(project: Project, invocation: Invocation) -> None:
    """Every instance with the release its processes run, its state at each balancer, and whatever is not in order.

    A host that does not answer is shown as such beside the others; at the end it is the error (exit 3). ChecksError at
    the end (exit 7) when an instance that should serve does not, or when nobody can tell since a balancer cannot be
    asked. One that a person took out of the pools is in order.
    """
    with open_run(project, invocation, partial=True) as run:
        facts = survey(run, measure=True)
        run.topology = run.topology.beside_serving(facts)
        pools, silent = _pools(run, facts)
        facts = slots.with_pools(run.topology, Facts(facts.hosts, pools))
        invocation.record.release = prevailing_release(facts, run.topology)
        closed = closed_entrances(run, list(pools))
        invocation.record.data = answer = answer_of(run, facts, pools, silent, closed)
        for host, line in answer.lines(project.env):
            invocation.bus.emit(Text(line, host=host))
        require_serving(run.topology, facts, run.lost, silent, closed)


def require_serving(
    topology: Topology,
    facts: Facts,
    lost: Set[str] = frozenset(),
    silent: Mapping[str, DeployError] | None = None,
    closed: Mapping[str, str] | None = None,
) -> None:
    """ChecksError that names the instances which are not seen to serve users, once something was ever pushed.

    Left out are `lost` hosts and those that the app was taken off. While a run is under way, nothing is a failure.
    `silent` are balancers that did not answer: what only they could tell is said to be unknown. `closed` are balancers
    that accept no connection where users connect → why.
    """
    if _is_under_way(facts, [host.name for host in topology.hosts if host.name not in lost]):
        return
    expected = [web for web in topology.web if web.name not in lost and not facts[web.name].removed]
    if not any(facts[web.name].current for web in expected):
        return
    silent, closed = silent or {}, closed or {}
    judged = judge(topology, facts, {host: error.message for host, error in silent.items()}, lost, closed)
    unknown = {
        name: why
        for name, why in judged.unknown.items()
        if _is_reported(facts, name, set(silent) - set(lost), expected)
    }
    if judged.down or unknown:
        total = sum(len(web.ports) for web in expected)
        raise _not_serving(topology, facts, Judgement(judged.down, unknown), silent, closed, total)


def _is_reported(facts: Facts, instance: str, silent: Set[str], expected: Iterable[WebHost]) -> bool:
    """Whether an unknown instance is one to report here: a host or balancer that is lost is an error of its own."""
    host, _, index = instance.rpartition(":")
    if host not in {web.name for web in expected}:
        return False
    serving = facts[host].serving.get(int(index))
    return bool(silent) or (serving is not None and serving.unseen)


def _not_serving(
    topology: Topology,
    facts: Facts,
    judged: Judgement,
    silent: Mapping[str, DeployError],
    closed: Mapping[str, str],
    total: int,
) -> ChecksError:
    """The error for instances that do not serve, or of which nobody can tell, of `total`."""
    down, unknown = judged.down, judged.unknown
    first, why = next(iter({**down, **unknown}.items()))
    denied = next((error.hint for error in silent.values() if getattr(error, "detail", {}).get("denied")), None)
    parts = [f"{len(down)} of {total} instances do not serve: {', '.join(down)}"] if down else []
    if unknown:
        parts.append(f"whether users are served by {', '.join(unknown)} is unknown")
    return ChecksError(
        "; ".join(parts),
        host=first.rpartition(":")[0] if down or not silent else next(iter(silent)),
        step="status",
        cause=f"{first}: {why}" if down else why,
        hint=(None if down else denied) or way_to_serve(topology, facts, first, silent, closed),
        code="not_serving" if down else "balancer_down" if silent else "not_seen",
    )


def answer_of(
    run: Run,
    facts: Facts,
    pools: Mapping[str, Mapping[str, ServerState]],
    silent: Mapping[str, DeployError],
    closed: Mapping[str, str] | None = None,
) -> Status:
    """All that `deploy status` answers, also noted in the run's record host by host."""
    webs = run.topology.web
    judged = judge(run.topology, facts, {host: error.message for host, error in silent.items()}, run.lost, closed)
    return Status(
        release=run.record.release,
        unreachable=sorted(run.lost),
        instances=[instance for web in webs for instance in _instances(run, web, facts, pools, silent, judged)],
        surplus=[
            SurplusStatus(host=step.host, port=step.port, release=step.before)
            for step in slots.surplus(run.topology, facts)
        ],
        processes=[process for web in webs for process in _processes(run, web, facts)],
        schedules=[schedule for web in webs for schedule in _schedules(run, web, facts)],
        maintenance=[
            MaintenanceStatus(host=host, who=record["who"], reason=record["reason"], since=record["since"])
            for host, record in maintenance_page.closed(run).items()
        ],
        removed=[
            RemovedStatus(host=host.name, who=removal["who"])
            for host in run.topology.hosts
            if (removal := facts[host.name].removed)
        ],
        locks=[_lock_status(host.name, lock) for host in run.topology.hosts if (lock := facts[host.name].lock)],
        freezes=[
            FreezeStatus(host=host.name, who=freeze["who"], reason=freeze["reason"], since=freeze["since"])
            for host in run.topology.hosts
            if (freeze := facts[host.name].frozen)
        ],
        half_done=[
            HalfDone(host=host.name, op=half["op"], instance=half["instance"], release=half["release"], run=half["run"])
            for host in run.topology.hosts
            for half in facts[host.name].half_done
        ],
        held_out=list(_held_out(pools)),
        certificates=list(certificates.presented_certificates(run)),
        takeovers=[
            Takeover(host=change.host, name=change.name, action=change.action)
            for change in (() if run.lost else adopting.still_to_do(run.topology, facts))
        ],
        unfinished=left_unfinished(run, facts),
    )


def _lock_status(host: str, lock: Holder) -> LockStatus:
    return LockStatus(
        host=host,
        who=lock.get("who"),
        run=lock.get("run"),
        command=lock.get("command"),
        since=lock.get("since"),
        lost=lock.get("lost"),
        until=lock.get("until"),
        pid=lock.get("pid"),
        silent=lock.get("silent"),
    )


def _held_out(pools: Mapping[str, Mapping[str, ServerState]]) -> Iterator[HeldOut]:
    for balancer, servers in pools.items():
        for name, state in servers.items():
            held = state["held"]
            if held and held["by"] != "spare":
                yield HeldOut(
                    host=balancer, server=name, by=held["by"], reason=held.get("reason"), since=held.get("since")
                )


def _is_under_way(facts: Facts, hosts: Iterable[str]) -> bool:
    """Whether a run works on any of the hosts; a lock whose agent is stopped does not count."""
    locks = (facts[host].lock for host in hosts)
    return any(lock and not is_stuck(lock) for lock in locks)


def left_unfinished(run: Run, facts: Facts) -> UnfinishedRun | None:
    """The last run, if it did not finish, or only half way, and nobody is at it."""
    if _is_under_way(facts, run.hosts):
        return None
    left = unfinished(run, facts)
    if left is None:
        return None
    state: Literal["died", "half_way"] = "half_way" if left.apart else "died"
    return UnfinishedRun(run=left.run, command=left.command, release=left.release, state=state, how=left.apart)


def _pools(run: Run, facts: Facts) -> tuple[dict[str, dict[str, ServerState]], dict[str, DeployError]]:
    """How the balancers see their servers, and those that do not answer. A check that is under way is waited for."""
    until = time.monotonic() + _CHECKED_S
    unproven = set(unserved(run.topology, facts, run.lost))
    while True:
        pools, silent = Pools(run).states_of_answering()
        seen = slots.with_pools(run.topology, Facts(facts.hosts, pools))
        down = set(unserved(run.topology, seen, run.lost)) - unproven
        if not down or silent or time.monotonic() >= until or run.stop.wait(0.5):
            break
    for host, error in silent.items():
        run.warn(f"the balancer does not answer: {error.message}", host=host, hint=error.hint or "")
    return pools, silent


def _instances(
    run: Run,
    web: WebHost,
    facts: Facts,
    pools: Mapping[str, Mapping[str, ServerState]],
    silent: Iterable[str],
    judged: Judgement,
) -> Iterator[InstanceStatus]:
    for index, port in enumerate(slots.used_ports(web, facts)):
        serving, beside = facts[web.name].serving.get(index), facts[web.name].beside.get(index)
        why = "nothing runs" if serving is None else "" if serving.proven else serving.why
        if web.name in run.lost:
            why = "its host does not answer"
        measured = serving if serving and serving.memory else None
        takes = {"memory": measured.memory, "age_s": round(measured.age)} if measured else {}
        release = serving.release if serving else None
        run.record.instance(web.name, index, port, release, why or "proven", **takes)
        server, name = run.topology.server(web.name, port), f"{web.name}:{index}"
        out = name in judged.down or server in facts.held() or bool(facts[web.name].removed)
        states = {host: servers[server]["state"] if server in servers else "unknown" for host, servers in pools.items()}
        yield InstanceStatus(
            host=web.name,
            index=index,
            port=port,
            release=release,
            proven=not why,
            why=why,
            memory_bytes=measured.memory if measured else None,
            age_s=round(measured.age) if measured else None,
            serves=None if name in judged.unknown else not out,
            unknown_because=judged.unknown.get(name, ""),
            balancers={**states, **dict.fromkeys(silent, NO_ANSWER)},
            beside=SlotStatus(port=beside.port, release=beside.release) if beside else None,
        )


def _processes(run: Run, web: WebHost, facts: Facts) -> Iterator[ProcessStatus]:
    for label, process in facts[web.name].processes.items():
        run.record.process(web.name, label, process.release, "runs" if process.running else process.why)
        yield ProcessStatus(
            host=web.name,
            process=label,
            release=process.release,
            running=process.running,
            why="" if process.running else process.why,
        )


def _schedules(run: Run, web: WebHost, facts: Facts) -> Iterator[ScheduleStatus]:
    """Each schedule with its release, what keeps it from being run, its next run, and what came of the last one."""
    wanted, current = run.topology.schedules_of(web), facts[web.name].current
    for name, schedule in facts[web.name].schedules.items():
        if schedule.release is None and not schedule.pid and name not in wanted:
            continue
        why = schedule.why
        if not why and schedule.release != current:
            why = f"runs in {schedule.release}, and {current} is current"
        if not why and name not in wanted:
            why = "this host should not have it"
        settings = run.topology.settings.schedules.get(name)
        upcoming = schedule.next
        if upcoming is None and settings and not schedule.why:
            upcoming = int(settings.times.after(datetime.now(UTC), zone(settings.timezone)).timestamp())
        run.record.schedule(web.name, name, schedule.release, why or "scheduled", next=upcoming, last=schedule.last)
        yield ScheduleStatus(
            host=web.name,
            schedule=name,
            release=schedule.release,
            why=why,
            next=None if schedule.why else upcoming,
            process=schedule.pid or None,
            began=schedule.began,
            ended=schedule.ended,
            result=schedule.result,
        )
