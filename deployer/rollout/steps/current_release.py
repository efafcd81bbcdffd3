"""The end of a good run: `current` moves, old releases go, what was left alone is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.agent.model.messages.releases import PRUNE, Prune, Pruned
from deployer.agent.model.messages.site import PROMOTE, Promote
from deployer.errors import NeedsPersonError
from deployer.plan.model import Plan
from deployer.rollout.run.outcomes import translate_errors
from deployer.rollout.run.run import Run


def promote(run: Run, release: str | None, ports: Mapping[str, Sequence[int]], *, via: str) -> None:
    """`current` points at `release` on every web host whose instances all proved it; None: at nothing.

    `ports` are the slots of each host that its instances serve in.
    """
    again = "every instance serves the release, but a host did not note it: type deploy {command} {env}"
    with translate_errors(NeedsPersonError, again):
        _promote(run, {host: release for host in run.web if host not in run.behind}, ports, via)


def demote(run: Run, ports: Mapping[str, Sequence[int]]) -> None:
    """`current` points again where it did before `promote`, on each host that was asked at its own."""
    releases = {host: run.currents[host] for host in run.web if host in run.currents}
    _promote(run, releases, ports, "restore")


def _promote(run: Run, releases: Mapping[str, str | None], ports: Mapping[str, Sequence[int]], via: str) -> None:
    done, failed = run.try_on_hosts(
        list(releases),
        PROMOTE,
        lambda host: Promote(
            site=run.site(host), run=run.id, release=releases[host], via=via, ports=list(ports.get(host, ()))
        ),
        step="promote",
    )
    for host, answer in done.items():
        run.currents.setdefault(host, answer["previous"])
    for host in releases:
        if host in failed:
            run.currents.setdefault(host, run.record.previous)
    for host in releases:
        if host in failed:
            raise failed[host]


def prune(run: Run, protect: Sequence[str]) -> None:
    """Old releases and venvs go. A host that cannot is only warned about: the rollout is done."""
    keep = run.topology.settings.keep
    answers, failed = run.try_on_hosts(
        run.web, PRUNE, lambda host: Prune(site=run.site(host), keep=keep, protect=list(protect)), step="prune"
    )
    for host, answer in answers.items():
        warn_of_remains(run, host, answer)
    for host, error in failed.items():
        run.warn(f"old releases were not removed: {error.message}", host=host)


def warn_of_remains(run: Run, host: str, answer: Pruned) -> None:
    """One warning with everything that `release.prune` could not remove from a host."""
    failed = answer["failed"]
    if failed:
        reasons = ", ".join(f"{path}: {why}" for path, why in failed.items())
        hint = f"make them removable there (mount, lsattr -d), then deploy prune {run.topology.env}"
        run.warn(f"cannot remove {reasons}", host=host, hint=hint)


def note_kept(run: Run, plan: Plan) -> None:
    """The record's line for every instance that the plan leaves as it is."""
    for step in plan.kept:
        run.record.instance(step.host, step.index, step.port, step.before, "unchanged")
