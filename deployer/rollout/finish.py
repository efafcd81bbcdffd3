"""The end of a good run: `current` moves, old releases go, what was left alone is noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.errors import NeedsPersonError
from deployer.plan.model import Plan
from deployer.rollout.endings import refused_as
from deployer.rollout.run import Run


def promote(run: Run, release: str | None, ports: Mapping[str, Sequence[int]], *, via: str) -> None:
    """`current` points at `release` on every web host whose instances all proved it; None: at nothing.

    `ports` are the slots of each host that its instances serve in.
    """
    again = "every instance serves the release, but a host did not note it: run the same command again"
    with refused_as(NeedsPersonError, again):
        run.each(
            [host for host in run.web if host not in run.behind],
            "site.promote",
            lambda host: {"run": run.id, "release": release, "via": via, "ports": list(ports.get(host, ()))},
            step="promote",
        )


def prune(run: Run, protect: Sequence[str]) -> None:
    """Old releases and venvs go. A host that cannot is only warned about: the rollout is done."""
    args = {"keep": run.topology.settings.keep, "protect": list(protect)}
    _, failed = run.try_each(run.web, "release.prune", args, step="prune")
    for host, error in failed.items():
        run.warn(f"old releases were not removed: {error.message}", host=host)


def note_kept(run: Run, plan: Plan) -> None:
    """The record's line for every instance that the plan leaves as it is."""
    for step in plan.kept:
        run.record.instance(step.host, step.index, step.port, step.before, "unchanged")
