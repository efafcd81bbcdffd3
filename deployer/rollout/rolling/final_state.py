"""What serves at the end of a run that failed: seen in processes and live balancers, never concluded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deployer.agent.model.messages.instances import PROVE, ProveInstances
from deployer.errors import DeployError, LeftBehindError, NeedsPersonError, UsageError
from deployer.events import UNKNOWN
from deployer.plan.facts import Facts
from deployer.plan.rolling import slots
from deployer.plan.serving import Judgement, judge, out_of_reach, release_of, unserved, way_to_serve
from deployer.rollout.pools.pools import Pools
from deployer.rollout.run.run import Run
from deployer.rollout.steps.survey import read_facts

SETTLE_S = 10.0
"""For how long what does not serve is looked at again: balancers check a server for a moment before it is up."""

EARLIER = "an earlier release"
"""What serves on a host that left the inventory: nobody there can be asked which release it is."""

_PAUSE_S = 0.5


@contextmanager
def judged_end(run: Run, before: Facts) -> Iterator[None]:
    """Judges the end of a run whose block fails, and notes in the record what served before it and what serves now.

    `before` are the facts of the run's beginning, with pools. The error becomes NeedsPersonError when an instance that
    served before does not serve now, or cannot be seen to, whatever the run believes to have put back.
    """
    others, served = _others(run, before), judge(run.topology, before, lost=run.lost)
    try:
        yield
    except (LeftBehindError, UsageError):
        raise
    except DeployError as error:
        try:
            with run.step("end", detail="what serves now"):
                after, silent = _settled(run, before)
        except DeployError as unseen:
            run.record.serving = {}
            hint = "deploy status {env} shows it"
            run.warn(f"what serves now could not be seen: {unseen.message}", host=unseen.host or "", hint=hint)
            raise error from None
        now = _judge(run, after, silent)
        missing = _note(run, (before, served), (after, now))
        missing |= _note_others(run, others, _others(run, after), _why_unknown(run, silent))
        if missing and not isinstance(error, NeedsPersonError):
            raise _needs_person(run, error, after, missing, silent) from error
        raise


def _settled(run: Run, before: Facts) -> tuple[Facts, dict[str, DeployError]]:
    """The facts as soon as all that served before serves, or as they are after `SETTLE_S`."""
    until = time.monotonic() + SETTLE_S
    while True:
        facts = read_facts(run)
        pools, silent = Pools(run).states_of_answering()
        facts = slots.with_pools(run.topology, Facts(facts.hosts, pools))
        late = set(_judge(run, facts, silent).down) - set(unserved(run.topology, before, run.lost))
        if not late or time.monotonic() >= until:
            return facts, silent
        time.sleep(_PAUSE_S)


def _judge(run: Run, facts: Facts, silent: Mapping[str, DeployError]) -> Judgement:
    return judge(run.topology, facts, {host: error.message for host, error in silent.items()}, run.lost)


def _why_unknown(run: Run, silent: Mapping[str, DeployError]) -> str:
    """Which balancers cannot be asked, and why; empty where all can."""
    away = [out_of_reach(balancer.name) for balancer in run.topology.balancers if balancer.name in run.lost]
    return "; ".join([*away, *(f"{host}: {error.message}" for host, error in silent.items() if host not in run.lost)])


def _note(run: Run, before: tuple[Facts, Judgement], after: tuple[Facts, Judgement]) -> dict[str, str]:
    """Notes each instance in the record; returns those that served before and are not seen to now, with the reason."""
    (facts_before, served), (facts_now, serves) = before, after
    run.record.serving = {}
    for web in run.topology.web:
        for index in range(len(web.ports)):
            name = f"{web.name}:{index}"
            was_seen = name not in served.down and name not in served.unknown
            now = UNKNOWN if name in serves.unknown else release_of(facts_now, web, index)
            run.record.serving[name] = {
                "before": release_of(facts_before, web, index) if was_seen else None,
                "now": None if name in serves.down else now,
                "unknown": serves.unknown.get(name),
            }
    missing = {**serves.down, **serves.unknown}
    return {name: why for name, why in missing.items() if name not in served.down and name not in served.unknown}


def _others(run: Run, facts: Facts) -> dict[str, str]:
    """What serves in slots that the settings no longer have, or on hosts that left the inventory: server → release.

    Balancers say so; without any, the processes of the run's own hosts.
    """
    topology = run.topology
    releases = {topology.server(step.host, step.port): step for step in slots.surplus(topology, facts)}
    if topology.balancers:
        webs = topology.everywhere
        known = {topology.server(web.name, port) for web in webs for port in (*web.ports, *web.spare_ports)}
        names = sorted(facts.in_use() - known)
        return {name: str(releases[name].before) if name in releases else EARLIER for name in names}
    serving = {}
    for name, step in releases.items():
        if step.host not in run.lost:
            one = topology.instance(topology.web_host(step.host), step.index, step.port, step.bind)
            request = ProveInstances(site=run.site(step.host), instances=[one.to_wire()], release=None)
            answer = run.call(step.host, PROVE, request, step="end")
            if answer["slots"][str(step.port)]["proven"]:
                serving[name] = str(step.before)
    return serving


def _note_others(run: Run, before: Mapping[str, str], after: Mapping[str, str], unknown: str) -> dict[str, str]:
    """As `_note`, for what `_others` returned before the run and returns now. `unknown`: why balancers cannot tell."""
    for name in sorted({*before, *after}):
        run.record.serving = {
            **(run.record.serving or {}),
            name: {
                "before": before.get(name),
                "now": after.get(name, UNKNOWN if unknown else None),
                "unknown": None if name in after else unknown or None,
            },
        }
    return {name: unknown or "it is not served any more" for name in before if name not in after}


def _needs_person(
    run: Run, error: DeployError, after: Facts, missing: Mapping[str, str], silent: Mapping[str, DeployError]
) -> NeedsPersonError:
    first, why = next(iter(missing.items()))
    others = [name for name in missing if name != first]
    nor = f" (nor {', '.join(others)})" if others else ""
    unknown = (run.record.serving or {}).get(first, {}).get("unknown")
    hosts = {host for name in missing if (host := name.rpartition(":")[0])}
    for host in hosts:
        run.record.host(host, "failed")
    return NeedsPersonError(
        f"{first} cannot be seen to serve, and did before this run{nor}"
        if unknown
        else f"{first} does not serve, and did before this run{nor}",
        host=first.rpartition(":")[0] or None,
        step="restore",
        cause=f"{why}; the run had failed with: {error}",
        log=error.log,
        hint=_way_on(run, after, first, silent),
        code="not_serving",
    )


def _way_on(run: Run, after: Facts, instance: str, silent: Mapping[str, DeployError]) -> str:
    """What to type next: about a host that is out of reach, or about what does not serve (`way_to_serve`)."""
    concerned = (instance.rpartition(":")[0], *(balancer.name for balancer in run.topology.balancers))
    lost = next((host for host in concerned if host in run.lost), None)
    if lost is None:
        return way_to_serve(run.topology, after, instance, silent)
    env = run.topology.env
    return f"deploy status {env} shows what serves; deploy push {env} heals it once {lost} answers"
