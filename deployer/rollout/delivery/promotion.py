"""The artifact that another environment has proven: the same files and exact versions, demanded by their hashes."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from deployer.agent.model.messages import releases as wire
from deployer.errors import NotReadyError, UsageError
from deployer.events import Bus
from deployer.plan.changes import prevailing_release
from deployer.plan.divergence import apart
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology
from deployer.remote.fleet import Fleet
from deployer.rollout.run.outcomes import translate_errors
from deployer.rollout.run.project import Project
from deployer.rollout.run.record import Record
from deployer.rollout.run.run import Run
from deployer.rollout.steps.survey import require_set_up, survey, with_pools


@dataclass(frozen=True)
class Proven:
    """A release as it serves in `env`.

    `files` is the digest of what was shipped; `requirements` the exact versions; `commit` is None for a plain folder.
    """

    env: str
    release: str
    commit: str | None
    files: str
    requirements: tuple[str, ...]

    @property
    def origin(self) -> wire.Origin:
        """Where it comes from, as the release's own description has it."""
        return {"env": self.env, "release": self.release}

    def require_same(self, files: str) -> None:
        """UsageError unless the tree that is to be shipped has this digest."""
        if files == self.files:
            return
        at = f"commit {self.commit[:12]}" if self.commit else "the folder here"
        raise UsageError(
            f"what {self.env} has proven as {self.release} differs from what {at} makes here",
            cause="the source has changed, or the build hook does not make the same again"
            if self.commit is None
            else "source.exclude has changed, or the build hook does not make the same again",
            hint=f"deploy push {self.env} first, then take it from there",
            code="not_the_same",
        )


def proven_in(project: Project, bus: Bus, *, all_serve: bool = True) -> Proven:
    """What serves in that environment now, on all its hosts. Looks, and changes nothing.

    NotReadyError when no proven release is the current one everywhere; with `all_serve`, also unless every instance
    serves it. Where instances or hosts differ, it says who has what.
    """
    topology = project.topology
    with (
        translate_errors(NotReadyError, f"deploy status {project.env} shows what serves there"),
        Fleet.open(
            topology.hosts, sudo_password=project.sudo_password, identity=project.who, balancer=topology.kind
        ) as fleet,
    ):
        run = Run(topology, fleet, bus, Record("look"), project.who, threading.Event())
        facts = survey(run)
        require_set_up(run, facts)
        release = current(topology, with_pools(run, facts), all_serve=all_serve)
        first = topology.web[0].name
        request = wire.OneRelease(site=run.site(first), release=release)
        marker = run.call(first, wire.MARKER, request, step="survey")["marker"] or {}
    return proven_release(project.env, release, marker)


def current(topology: Topology, facts: Facts, *, all_serve: bool = True) -> str:
    """The proven release that is current on every host, and that every instance serves; NotReadyError for none."""
    release = prevailing_release(facts, topology)
    if release is None:
        raise _not_proven(topology.env, "nothing was ever pushed there", "")
    _require_together(topology, facts, release, all_serve=all_serve)
    for web in topology.web:
        if facts[web.name].current != release:
            raise _not_proven(topology.env, f"its current release is not {release}", web.name)
        known = facts[web.name].release(release)
        if known is None or not known.complete or not known.proven:
            raise _not_proven(topology.env, f"{release} was never proven there", web.name)
        for index in range(len(web.ports)) if all_serve else ():
            instance = facts[web.name].serving.get(index)
            if instance is None or instance.release != release or not instance.proven:
                why = f" ({instance.why})" if instance and instance.why else ""
                raise _not_proven(topology.env, f"instance {index} does not serve {release}{why}", web.name)
    return release


def proven_release(env: str, release: str, marker: wire.Marker) -> Proven:
    """The release as its own description tells it; NotReadyError for one of a time when that told too little."""
    files, requirements = marker.get("files"), marker.get("requirements")
    if not files or requirements is None:
        raise NotReadyError(
            f"{release} in {env} was built by an earlier deploy, which did not record its parts",
            hint=f"deploy push {env} once more, after any change",
            code="not_proven",
        )
    return Proven(env, release, marker.get("commit"), files, tuple(requirements))


def _require_together(topology: Topology, facts: Facts, release: str, *, all_serve: bool) -> None:
    """NotReadyError where a run came only half way: what serves may well be proven, but it is not one release.

    `release` is the one that most hosts have as `current`. Without `all_serve` only these count.
    """
    env, facts_by_host = topology.env, {web.name: facts[web.name] for web in topology.web}
    odd = [name for name, host_facts in facts_by_host.items() if host_facts.current not in (None, release)]
    if all_serve:
        other = {
            name: {serving.release for serving in host_facts.serving.values()}
            for name, host_facts in facts_by_host.items()
        }
        odd = [name for name in facts_by_host if name in odd or other[name] - {None, release}]
    if odd:
        raise NotReadyError(
            f"{env} is half way between releases",
            host=odd[0],
            cause=apart(topology, facts, down=False),
            hint=f"deploy push {env} or deploy rollback {env} makes all serve one release; "
            f"deploy status {env} shows the state",
            code="not_proven",
        )


def _not_proven(env: str, why: str, host: str) -> NotReadyError:
    return NotReadyError(
        f"{env} has no proven release",
        host=host or None,
        cause=why,
        hint=f"deploy push {env} first; deploy status {env} shows what serves there",
        code="not_proven",
    )
