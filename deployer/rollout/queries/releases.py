"""`deploy releases`: the releases on the hosts, and which of them can be rolled back to."""

from __future__ import annotations

from deployer.events import Text
from deployer.plan.changes import prevailing_release
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology
from deployer.rollout.commands.rollback import candidates
from deployer.rollout.data import Data
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.steps.survey import survey


class Origin(Data):
    """The environment from which a release was promoted."""

    env: str
    """The environment that had proven it."""
    release: str
    """Its id there."""


class ReleaseEntry(Data):
    """One release."""

    id: str
    """Its id."""
    current: bool
    """Most hosts have it as the current release."""
    complete: bool
    """It is complete on every host that answered and has instances."""
    proven: bool
    """It has been the current release of a host."""
    withdrawn: bool
    """A rollback or a failed push went away from it, so `deploy rollback ENV` passes it over."""
    target: bool
    """`deploy rollback ENV ID` can go to it."""
    commit: str | None
    """The commit that it was built from; null for a plain folder."""
    created: float | None
    """When it was built, in seconds since the epoch."""
    hosts: list[str]
    """The hosts that have it complete."""
    incomplete: list[str]
    """The hosts where only an unfinished build of it lies."""
    origin: Origin | None
    """Where it was promoted from; null when it was built for this environment."""

    @property
    def text(self) -> str:
        """The release as one line."""
        way_back = "can be rolled back to"
        if self.withdrawn:
            way_back = "withdrawn: a rollback takes it only by its id"
        words = [
            "current" if self.current else "",
            way_back if self.target and not self.current else "",
            "" if self.proven else "never proven",
            f"only on {', '.join(self.hosts)}" if self.hosts and not self.complete else "",
            f"incomplete, on {', '.join(self.incomplete)}" if self.incomplete else "",
            f"commit {self.commit[:12]}" if self.commit else "",
            f"from {self.origin.env} ({self.origin.release})" if self.origin else "",
        ]
        return f"{self.id}  {', '.join(word for word in words if word)}"


class Releases(Data):
    """What `deploy releases` answers."""

    releases: list[ReleaseEntry]
    """All releases, oldest first."""


def releases(project: Project, invocation: Invocation) -> None:
    """Shows the releases of all hosts, oldest first. Hosts that do not answer are the error at the end."""
    with open_run(project, invocation, partial=True) as run:
        facts, shape = survey(run), run.answering
        answer = releases_of(shape, facts)
        invocation.record.data, invocation.record.release = answer, prevailing_release(facts, shape)
        for release in answer.releases:
            invocation.bus.emit(Text(release.text))


def releases_of(topology: Topology, facts: Facts) -> Releases:
    """The releases of the web hosts of a topology."""
    current = prevailing_release(facts, topology)
    usable = {release.id for release in candidates(topology, facts)}
    entries = []
    for name in sorted({release.id for web in topology.web for release in facts[web.name].releases}):
        by_host = {web.name: release for web in topology.web if (release := facts[web.name].release(name))}
        first = next((release for release in by_host.values() if release.complete), next(iter(by_host.values())))
        having = [host for host, release in by_host.items() if release.complete]
        entries.append(
            ReleaseEntry(
                id=name,
                current=name == current,
                complete=len(having) == len(topology.web),
                proven=any(release.proven for release in by_host.values()),
                withdrawn=any(release.withdrawn for release in by_host.values()),
                target=name in usable and name != current,
                commit=first.commit,
                created=first.created or None,
                hosts=having,
                incomplete=[host for host, release in by_host.items() if not release.complete],
                origin=Origin.model_validate(first.origin) if first.origin else None,
            )
        )
    return Releases(releases=entries)
