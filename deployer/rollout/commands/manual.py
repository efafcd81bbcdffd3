"""What a person does by hand: servers out of the pools and back, a stop sign for pushes, a word to a run under way."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from deployer.agent.model.messages.freeze import CLEAR, SET, Freeze, Thaw
from deployer.agent.model.messages.lock import ASK, RequestStop
from deployer.balancers.base import port_in
from deployer.errors import NotReadyError, UnreachableError, UsageError
from deployer.events import Output
from deployer.plan.rolling.slots import used_ports
from deployer.plan.topology import Topology
from deployer.rollout.pools.pools import Pools, Slot
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.holder import holder_text, is_stuck, latest_end
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import lock_site, locked_error
from deployer.rollout.run.project import Project
from deployer.rollout.run.recording import ended_in_ledgers, recorded
from deployer.rollout.run.run import Run
from deployer.rollout.steps.survey import survey, with_pools


@recorded
def drain(project: Project, invocation: Invocation, *, host: str, reason: str, force: bool) -> None:
    """Takes all instances of a host out of every pool, until somebody admits them again; pushes leave them out.

    UsageError for a host that serves nothing here, or when nobody else serves and `force` is not given.
    """
    _require_host(project.topology, host)
    there = project.reached_by(project.topology.balancers_alone)
    with open_run(there, invocation.unstoppable()) as run:
        run.noted |= set(run.hosts)
        with ended_in_ledgers(run):
            pools = Pools(run)
            pools.remember()
            slots = _in_pools(run, pools, host)
            if not force:
                _require_others(pools, slots)
            pools.drain(slots, by="person", reason=reason)
        invocation.record.host(host, "drained")
        invocation.bus.emit(Output(f"out of the pools until `deploy admit {project.env} {host}`: {reason}", host=host))


@recorded
def admit(project: Project, invocation: Invocation, *, host: str, force: bool) -> None:
    """Puts the instances of a host back into every pool. Under the lock: a run's own drains are not a person's to end.

    NotReadyError for what is in quarantine, which a push brings back once it proved a release, unless `force`.
    """
    _require_host(project.topology, host)
    with open_run(project, invocation.unstoppable()) as run, lock_site(run):
        slots, pools = _slots(run, host), Pools(run)
        pools.remember()
        left = pools.admit_by_hand(slots, force=force)
        if left:
            raise NotReadyError(
                f"{', '.join(left)} is in quarantine: {next(iter(left.values()))}",
                host=host,
                step="admit",
                hint=f"deploy push {project.env} brings it back once it proved the release; --yes admits it as it is",
                code="quarantine",
            )
        invocation.record.host(host, "admitted")
        invocation.bus.emit(Output("back in the pools", host=host))


@recorded
def freeze(project: Project, invocation: Invocation, *, reason: str) -> None:
    """Stops all pushes to the environment, on every host, until somebody thaws it. Rollbacks still work."""
    with open_run(project, invocation.unstoppable(), partial=True) as run:
        if not run.hosts:
            return
        freeze_hosts(run, reason)
        again = f"deploy freeze {project.env} --reason {shlex.quote(reason)}"
        _require_everywhere(run, f"is frozen on {', '.join(run.hosts)} only", again)


def freeze_hosts(run: Run, reason: str) -> None:
    """The stop sign on every host of a run that answers. One of them is enough to refuse a push that reaches it."""
    env = run.topology.env
    done = run.run_on_hosts(
        run.hosts, SET, lambda host: Freeze(site=run.site(host), reason=reason, who=run.who), step="freeze"
    )
    run.record.in_ledgers |= set(done)
    where = f" on {', '.join(run.hosts)}" if run.lost else ""
    run.bus.emit(Output(f"{env} is frozen{where}: {reason}; deploy unfreeze {env} allows pushes again"))


def _require_everywhere(run: Run, state: str, again: str) -> None:
    """UnreachableError that says where a stop sign is as wanted and where not, unless all hosts answered."""
    for host, error in run.absent.items():
        raise UnreachableError(
            f"{run.topology.env} {state}, since {', '.join(run.absent)} does not answer",
            host=host,
            step="connect",
            cause=str(error.cause or error.message),
            hint=f"{again} once it answers",
            code=error.code,
        )


@recorded
def unfreeze(project: Project, invocation: Invocation) -> None:
    """Lets pushes go again. `unchanged` where nothing was frozen."""
    with open_run(project, invocation.unstoppable(), partial=True) as run:
        if not run.hosts:
            return
        answers = run.run_on_hosts(
            run.hosts, CLEAR, lambda host: Thaw(site=run.site(host), who=project.who), step="unfreeze"
        )
        thawed = any(answer["cleared"] for answer in answers.values())
        invocation.record.outcome = "succeeded" if thawed else "unchanged"
        invocation.record.in_ledgers |= set(answers)
        where = f" on {', '.join(run.hosts)}" if run.lost else ""
        invocation.bus.emit(Output(f"{project.env} {'is no longer' if thawed else 'was not'} frozen{where}"))
        _require_everywhere(
            run, f"is not frozen on {', '.join(run.hosts)}, and may be elsewhere", f"deploy unfreeze {project.env}"
        )


def cancel(project: Project, invocation: Invocation) -> None:
    """Asks the run that holds the lock to stop, as Ctrl-C there would.

    `unchanged` when nobody holds it, or when its controller is gone: then the host winds up by itself. LockedError when
    the agent that holds it is stopped.
    """
    with open_run(project, invocation.unstoppable(), partial=True) as run:
        answers = run.run_on_hosts(
            run.hosts, ASK, lambda host: RequestStop(site=run.site(host), who=project.who), step="cancel"
        )
        holders = {host: answer["holder"] for host, answer in answers.items() if answer["holder"]}
        for host, holder in holders.items():
            if is_stuck(holder):
                raise locked_error(run, host, holder)
        running = {str(holder.get("run")): holder for holder in holders.values() if not holder.get("lost")}
        if not running:
            invocation.record.outcome = "unchanged"
            last = latest_end(list(holders.values()))
            invocation.bus.emit(Output(f"held by {holder_text(last)}" if last else f"nothing runs on {project.env}"))
        for name, holder in running.items():
            who = holder.get("who")
            invocation.bus.emit(
                Output(f"asked run {name} of {who} to stop; deploy status {project.env} shows when it has")
            )


def _require_host(topology: Topology, host: str) -> None:
    names = [web.name for web in topology.web]
    if host not in names:
        raise UsageError(f"{host} serves nothing of {topology.settings.app}", hint=f"one of {', '.join(names)}")
    if not topology.balancers:
        raise UsageError("no balancer exists to take it out of", hint="add a group `balancers` to the inventory")


def _slots(run: Run, host: str) -> list[Slot]:
    facts = with_pools(run, survey(run))
    return [(host, port) for port in used_ports(run.topology.web_host(host), facts)]


def _in_pools(run: Run, pools: Pools, host: str) -> list[Slot]:
    """The slots of a host that balancers send requests to, else those that are in use: the host may be away."""
    server_states = [pair for servers in pools.states().values() for pair in servers.items()]
    serving = {name for name, state in server_states if state["serves"]}
    known = {name for name, state in server_states if not (held := state["held"]) or held["by"] != "spare"}
    slots = sorted({(host, port) for name in known if (port := port_in(name, host)) is not None})
    if not slots:
        raise UsageError(
            f"the balancers have no server of {host}",
            step="drain",
            hint=f"deploy push {run.topology.env} adds a host that is new or renamed",
        )
    return [slot for slot in slots if serving & set(pools.names([slot]))] or slots


def _require_others(pools: Pools, slots: Sequence[Slot]) -> None:
    balancer = pools.only(slots)
    if balancer:
        raise UsageError(
            "nothing else serves, so users would get no answer",
            host=balancer,
            step="drain",
            hint="add --yes to do it anyway",
        )
