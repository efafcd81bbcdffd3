"""What the current release on the hosts was resolved to, so that every machine that pushes installs the same."""

from __future__ import annotations

import datetime
import time

from deployer.agent.model.messages.releases import MARKER, OneRelease
from deployer.artifact.kept_versions import KeptAnswer, KeptVersions
from deployer.plan.changes import prevailing_release
from deployer.plan.facts import Facts
from deployer.plan.model import Inferred
from deployer.rollout.run.run import Run

_DAY_S = 86400


def kept_versions(run: Run, facts: Facts, *, anew: bool) -> KeptVersions:
    """The exact versions of each host's current release; nothing, and nothing of this machine's own, with `anew`."""
    if anew:
        return KeptVersions(anew=True)
    current = {web.name: release for web in run.topology.web if (release := facts[web.name].current)}
    answers = run.run_on_hosts(
        list(current), MARKER, lambda host: OneRelease(site=run.site(host), release=current[host]), step="resolve"
    )
    versions: dict[str, KeptAnswer] = {}
    for host, answer in answers.items():
        marker = answer["marker"] or {}
        resolution, texts = marker.get("resolution"), marker.get("requirements")
        if resolution and texts:
            kept = KeptAnswer(texts[-1], int(resolution["at"]), current[host])
            versions.setdefault(resolution["digest"], kept)
    return KeptVersions(versions)


def age_of_versions(run: Run, facts: Facts) -> list[Inferred]:
    """When the unlocked dependencies of the current release were resolved; nothing where all are locked."""
    current = prevailing_release(facts, run.topology)
    known = facts.known(current) if current else None
    if known is None or not known.resolved_at:
        return []
    days = int((time.time() - known.resolved_at) / _DAY_S)
    ago = "today" if days < 1 else f"{days} day{'s' * (days != 1)} ago"
    date = datetime.datetime.fromtimestamp(known.resolved_at, datetime.UTC).date()
    why = f"kept with {current}; deploy push {run.topology.env} --upgrade resolves them anew"
    return [Inferred("python versions", f"resolved {date}, {ago}", why)]
