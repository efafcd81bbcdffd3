"""Web hosts that are out of reach when a run begins: within `rolling.max_failures` it goes on without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from deployer.errors import DeployError, LeftBehindError, RolloutError, UntrustedHostError
from deployer.plan.model import InstanceStep
from deployer.plan.topology import Topology
from deployer.plan.waves import size_of
from deployer.remote.fleet import together
from deployer.rollout.pools import Pools, Slot
from deployer.rollout.run import Run

SILENT = ("timeout", "refused", "closed", "unreachable")
"""Codes of connections that fail because a host is away. Whatever else is wrong is a person's to mend first."""


def unreachable(topology: Topology, failures: Mapping[str, DeployError], command: str) -> DeployError:
    """The error for hosts that cannot be reached, with the ways to go on without them as its hint.

    `command` is what the person typed. A balancer and the host of a push's release hook cannot be left out.
    """
    error, env = together(failures), topology.env
    webs = {web.name: web.own.instances for web in topology.web}
    away = all(failure.code in SILENT and not isinstance(failure, UntrustedHostError) for failure in failures.values())
    hooked = command == "push" and topology.settings.hooks.release is not None
    needed = hooked and topology.everywhere[0].name in failures
    own = "" if (error.hint or "").startswith("deploy doctor") else error.hint
    if len(failures) >= len(topology.hosts) or not webs.keys() > failures.keys() or needed:
        error.hint = own or f"ssh to {next(iter(failures))} shows what keeps it away"
        return error
    excluded = f"'!{next(iter(failures))}'" if len(failures) == 1 else _all_but(failures)
    again = "push" if command in ("doctor", "freeze", "unfreeze") else command
    ways = [f"deploy {again} {env} -l {excluded} goes on without {'it' if len(failures) == 1 else 'them'}"]
    if again in ("push", "rollback", "reload") and away:
        count = sum(webs[host] for host in failures)
        ways.append(f"rolling.max_failures: {count} in deploy.yaml lets every run do so")
    error.hint = "; ".join([*([own] if own else []), *ways])
    return error


def _all_but(hosts: Iterable[str]) -> str:
    return "'all:" + ":".join(f"!{host}" for host in hosts) + "'"


def without(topology: Topology, failures: Mapping[str, DeployError], command: str) -> Topology:
    """The topology in which the web hosts of `failures` are `absent`.

    Raises their error (exit 3) where the run cannot do without them: more instances than `max_failures`, a balancer,
    the host of a push's release hook, all there are, or a host that answers and is wrong in some other way.
    """
    if not failures:
        return topology
    absent = tuple(web for web in topology.web if web.name in failures)
    rest = tuple(web for web in topology.web if web.name not in failures)
    most = size_of(topology.settings.rolling.max_failures, topology.instances)
    away = all(error.code in SILENT and not isinstance(error, UntrustedHostError) for error in failures.values())
    # A host that has the app's processes alone is in no budget of instances.
    counted = [web.own.instances for web in absent]
    if not away or not rest or len(absent) < len(failures) or sum(counted) > most or not all(counted):
        raise unreachable(topology, failures, command)
    if command == "push" and topology.settings.hooks.release is not None and topology.everywhere[0] in absent:
        error = unreachable(topology, failures, command)
        error.cause = "; ".join(filter(None, (error.cause, "the release hook runs there, and keeps its outcome there")))
        raise error
    return replace(topology, web=rest, absent=absent)


def steps(run: Run) -> dict[InstanceStep, DeployError]:
    """The absent instances, each with what kept its host away: they count against the budget from the start."""
    return {
        InstanceStep(web.name, index, port, "keep", None): run.absent[web.name]
        for web in run.topology.absent
        for index, port in enumerate(web.ports)
    }


def quarantine(run: Run, pools: Pools) -> None:
    """Takes the slots of absent hosts out of the pools: one that comes back serves nobody an earlier release."""
    away: list[Slot] = [(w.name, port) for w in run.topology.absent for port in (*w.ports, *w.spare_ports)]
    reason = f"its host was out of reach in run {run.id}; it has to prove a release to come back"
    away = pools.there(away)
    _require_others(run, pools, away)
    pools.drain(away, by="quarantine", reason=reason)


def _require_others(run: Run, pools: Pools, away: Sequence[Slot]) -> None:
    """RolloutError where none but these serves: they may be well, whatever keeps us from reaching their hosts."""
    balancer = pools.only(away)
    if balancer:
        raise RolloutError(
            f"none but {', '.join(run.absent)} serves, and that is out of reach, so nothing is touched",
            host=balancer,
            step="guard",
            hint=f"deploy status {run.topology.env} shows why the others are down",
            code="capacity",
        )


def tell(run: Run) -> None:
    """Says who is left out, and why."""
    for name, error in run.absent.items():
        run.record.host(name, "unreachable")
        run.warn(
            f"left out, within rolling.max_failures: {error.message}",
            host=name,
            hint=error.hint or "",
        )


def require_nobody(run: Run) -> None:
    """LeftBehindError (exit 8) that names the hosts which a run that had nothing else to do could not reach."""
    for name, error in run.absent.items():
        raise LeftBehindError(
            f"the others serve what they should, but {', '.join(run.absent)} is out of reach",
            host=name,
            step=error.step,
            cause=str(error),
            hint=f"deploy push {run.topology.env} brings it up to date once it is back",
        )
