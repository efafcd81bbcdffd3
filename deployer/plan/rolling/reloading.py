"""When a reload in place (SIGHUP) is allowed: only where it brings about what is wanted and cannot cost what serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deployer.errors import SettingsError
from deployer.plan.draft import DesiredRelease
from deployer.plan.facts import Facts
from deployer.plan.model import Plan
from deployer.plan.size import size_of
from deployer.plan.topology import Topology, WebHost
from deployer.settings.workers import workers_for

_OTHER_DEPENDENCIES = "its dependencies are others, and a master keeps those that it has loaded"


@dataclass(frozen=True)
class Obstacle:
    """Why a reload cannot be, in words that follow "a reload cannot carry this out:", and on which host, if one."""

    why: str
    host: str | None = None

    def refused(self, command: str) -> SettingsError:
        """Return the error for a configured reload that is impossible, with the reason and the fix."""
        return SettingsError(
            f"rolling.strategy: reload cannot carry this {command} out: {self.why}",
            host=self.host,
            step="plan",
            hint=f"write rolling.strategy: auto, or deploy {command} {{env}} --strategy restart",
        )


def obstacle(
    topology: Topology, facts: Facts, desired: DesiredRelease, secrets_changed: Sequence[str]
) -> Obstacle | None:
    """Return the first thing that keeps instances from coming to a release by a reload; None: nothing that can be known
    now.

    `secrets_changed` are hosts whose secrets are written in this run.
    """
    release = desired.release
    if secrets_changed:
        return Obstacle("secrets changed, and a master keeps those that it was started with")
    for web in topology.web:
        why = topology.runtime.refuse_reload(_workers(topology, web, facts), same=desired.command == "reload")
        if why:
            return Obstacle(f"{topology.served_by} {why}", web.name)
        for before in _others(web, facts, release):
            old, new = facts[web.name].release(before), facts[web.name].release(release)
            start = desired.starts.get(web.name) or (new.start_sha if new else "")
            if old is None or old.start_sha != start:
                what = "the command, settings or environment that it starts with are new, and a master keeps its own"
                return Obstacle(what, web.name)
            venv = new.venv if new is not None and new.complete else desired.venvs.get(web.name, old.venv)
            if old.venv != venv:
                return Obstacle(_OTHER_DEPENDENCIES, web.name)
    return None


def other_dependencies(plan: Plan, facts: Facts, keys: Mapping[str, str]) -> Obstacle | None:
    """Return the first instance whose reload would come to other dependencies: `keys` name the virtualenv of
    each host."""
    for step in plan.steps:
        old = facts[step.host].release(step.before or "")
        if step.action == "reload" and old is not None and keys.get(step.host, old.venv) != old.venv:
            return Obstacle(_OTHER_DEPENDENCIES, step.host)
    return None


def _others(web: WebHost, facts: Facts, release: str) -> Iterator[str]:
    """Yield what the instances of a host serve in place of the release."""
    for serving in facts[web.name].serving.values():
        if serving.release and serving.release != release:
            yield serving.release


def _workers(topology: Topology, web: WebHost, facts: Facts) -> int:
    size = size_of(facts[web.name].machine, topology.settings.unit, topology.supervisor(web).name)
    return workers_for(web.own.workers, size, max(1, web.own.instances))[0]
