"""What serves at the end of a run that failed: seen in processes and live balancers, never concluded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deployer.errors import DeployError, LeftBehindError, NeedsPersonError, UsageError
from deployer.events import UNKNOWN
from deployer.plan import slots
from deployer.plan.facts import Facts
from deployer.plan.serving import release_of, unseen, unserved, way_to_serve
from deployer.rollout.pools import Pools
from deployer.rollout.run import Run
from deployer.rollout.survey import read_facts

SETTLE_S = 10.0
"""For how long what does not serve is looked at again: balancers check a server for a moment before it is up."""

EARLIER = "an earlier release"
"""What serves on a host that left the inventory: nobody there can be asked which release it is."""

_PAUSE_S = 0.5


@contextmanager
def judged_end(run: Run, before: Facts) -> Iterator[None]:
    """Judges the end of a run whose block fails, and notes in the record what served before it and what serves now.

    `before` are the facts of the run's beginning, with pools. The error becomes NeedsPersonError when an instance that
    served before does not serve now, whatever the run believes to have put back.
    """
    others = _others(run, before)
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
        missing = _note(run, before, after, silent) | _note_others(run, others, _others(run, after))
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
        late = set(_unserved(run, facts, silent)) - set(unserved(run.topology, before, lost=run.lost))
        if not late or time.monotonic() >= until:
            return facts, silent
        time.sleep(_PAUSE_S)


def _unserved(run: Run, facts: Facts, silent: Mapping[str, DeployError]) -> dict[str, str]:
    why = {host: error.message for host, error in silent.items() if host not in run.lost}
    return unserved(run.topology, facts, why, run.lost)


def _note(run: Run, before: Facts, after: Facts, silent: Mapping[str, DeployError]) -> dict[str, str]:
    """Notes each instance in the record; returns those that served before and do not now, with the reason."""
    down_before, down_now = unserved(run.topology, before, lost=run.lost), _unserved(run, after, silent)
    unknown = unseen(after, down_now, silent.keys() - run.lost)
    run.record.serving = {}
    for web in run.topology.web:
        if web.name in run.lost and web.name not in before.hosts:
            continue
        for index in range(len(web.ports)):
            name = f"{web.name}:{index}"
            if web.name in run.lost or name in unknown:
                now: str | None = UNKNOWN
            else:
                now = None if name in down_now else release_of(after, web, index)
            run.record.serving[name] = {
                "before": None if name in down_before else release_of(before, web, index),
                "now": now,
            }
    return {name: why for name, why in down_now.items() if name not in down_before}


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
            answer = run.call(step.host, "instance.prove", {"instances": [one.to_wire()], "release": None}, step="end")
            if answer["slots"][str(step.port)]["proven"]:
                serving[name] = str(step.before)
    return serving


def _note_others(run: Run, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """As `_note`, for what `_others` returned before the run and returns now."""
    for name in sorted({*before, *after}):
        run.record.serving = {
            **(run.record.serving or {}),
            name: {"before": before.get(name), "now": after.get(name)},
        }
    return {name: "it is not served any more" for name in before if name not in after}


def _needs_person(
    run: Run, error: DeployError, after: Facts, missing: Mapping[str, str], silent: Mapping[str, DeployError]
) -> NeedsPersonError:
    first, why = next(iter(missing.items()))
    others = [name for name in missing if name != first]
    hosts = {host for name in missing if (host := name.rpartition(":")[0])}
    for host in hosts:
        run.record.host(host, "failed")
    message = f"{first} does not serve, and did before this run" + (f" (nor {', '.join(others)})" if others else "")
    if unseen(after, missing, silent.keys() - run.lost) == set(missing):
        message = f"it cannot be seen whether {', '.join(missing)} serves as before this run"
    return NeedsPersonError(
        message,
        host=first.rpartition(":")[0] or None,
        step="restore",
        cause=f"{why}; the run had failed with: {error}",
        log=error.log,
        hint=way_to_serve(run.topology, after, first, silent),
        code="not_serving",
    )
