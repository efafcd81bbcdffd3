"""The run before, if it did not come to its end: its plan lies on every host, so anybody can go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.errors import UsageError
from deployer.plan.facts import Facts
from deployer.rollout.run import Run


def unfinished(run: Run) -> tuple[str, Mapping[str, Any]] | None:
    """Id and plan of the newest run that noted its plan and on no host its end; None when all runs ended."""
    found = run.each(run.hosts, "site.plan", {}, step="plan")
    plans = {str(each["run"]): each["plan"] for each in found.values() if each["plan"]}
    ended = {str(each["run"]) for each in found.values() if each["ended"]}
    newest = max(plans, default=None)
    return (newest, plans[newest]) if newest is not None and newest not in ended else None


def resumed(run: Run, facts: Facts) -> str:
    """The release of the run that is left unfinished.

    UsageError when there is none, or its release was not built on every host by then.
    """
    left, env = unfinished(run), run.topology.env
    if left is None:
        raise UsageError("no run is left unfinished", hint=f"deploy push {env} pushes what is committed")
    release = str(left[1]["release"])
    for web in run.topology.web:
        found = facts[web.name].release(release)
        if found is None or not found.complete:
            raise UsageError(f"{release} was not built on {web.name} yet", hint=f"deploy push {env} starts over")
    return release
