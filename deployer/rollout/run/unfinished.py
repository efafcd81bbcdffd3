"""The run before, if it did not finish: what it noted lies on every host, so anybody can go on with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deployer.agent.model.messages import site as wire
from deployer.errors import UsageError
from deployer.plan.divergence import apart, releases_served
from deployer.plan.facts import Facts
from deployer.rollout.run.run import Run


@dataclass(frozen=True)
class Unfinished:
    """A run that is to be gone on with, or gone back from.

    `apart` says which instances serve what, of a run that ended half way; it is empty for one that noted no end.
    """

    run: str
    command: str
    release: str
    apart: str = ""


def unfinished(run: Run, facts: Facts) -> Unfinished | None:
    """The newest run, if it died, or else the newest that ended while its release served here and another there.

    None when a later one succeeded on the hosts that it left so.
    """
    return _died(run) or _half_way(run, facts)


def resumed_release(run: Run, facts: Facts) -> str:
    """The release of the run that is left unfinished.

    UsageError when there is none, or its release was not built on every host by then.
    """
    left, env = unfinished(run, facts), run.topology.env
    if left is None:
        raise UsageError("no run is left unfinished", hint=f"deploy push {env} pushes what is committed")
    for web in run.topology.web:
        host_release = facts[web.name].release(left.release)
        if host_release is None or not host_release.complete:
            raise UsageError(f"{left.release} was not built on {web.name} yet", hint=f"deploy push {env} starts over")
    return left.release


def _died(run: Run) -> Unfinished | None:
    """The newest run that noted its plan and on no host its end."""
    answers = run.run_on_hosts(run.hosts, wire.PLAN, run.on_site, step="plan")
    plans = {str(answer["run"]): answer["plan"] for answer in answers.values() if answer["plan"]}
    ended = {str(answer["run"]) for answer in answers.values() if answer["ended"]}
    newest = max(plans, default=None)
    if newest is None or newest in ended:
        return None
    plan = plans[newest]
    return Unfinished(newest, plan["command"], plan["release"])


def _half_way(run: Run, facts: Facts) -> Unfinished | None:
    """The newest run that ended, not well, with a release that some instances serve and others do not."""
    how = apart(run.topology, facts, run.lost)
    if not how:
        return None
    answers = run.run_on_hosts(run.web, wire.LEDGER, lambda host: wire.ReadLedger(site=run.site(host)), step="history")
    ends = {str(end.get("run")): end for answer in answers.values() for end in _open_ends(answer["entries"])}
    releases = releases_served(run.topology, facts, run.lost)
    newest = max((name for name, end in ends.items() if end.get("release") in releases), default=None)
    if newest is None:
        return None
    end = ends[newest]
    return Unfinished(newest, str(end.get("command")), str(end.get("release")), how)


def _open_ends(entries: Sequence[wire.LedgerLine]) -> Iterator[wire.LedgerLine]:
    """How runs ended on a host that may have left it half way, since the last that succeeded there."""
    for entry in reversed(entries):
        if entry.get("event") != "ended" or not entry.get("release"):  # a drain, say, is about no release
            continue
        if entry.get("outcome") in ("succeeded", "unchanged"):
            return
        if entry.get("outcome") in ("failed", "interrupted") and entry.get("release"):
            yield entry
