"""The release that a run goes to: what it is made of, and whether the hosts have it already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.agent.model.messages.releases import Origin
from deployer.plan.facts import Facts, ReleaseFacts
from deployer.settings.models import Settings

PLACEHOLDER = "@release@"


@dataclass(frozen=True)
class LaunchFiles:
    """How instances of one host start: the `run` script with the placeholder for the release id, and its files."""

    run: str
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        """SHA-256 of all of it: equal when instances would start in the same way."""
        text = json.dumps([self.run, sorted(self.files.items())])
        return hashlib.sha256(text.encode()).hexdigest()

    def for_release(self, release: str) -> tuple[str, dict[str, str]]:
        """Return the script and files with the release's id in them."""
        return (
            self.run.replace(PLACEHOLDER, release),
            {path: text.replace(PLACEHOLDER, release) for path, text in self.files.items()},
        )


@dataclass(frozen=True)
class ReleaseCandidate:
    """A release before it has an id. `content` is a digest of all that every host has in common.

    `files` is the digest of what is shipped alone; `origin` is the environment that proved it, and its release there.
    """

    content: str
    starts: Mapping[str, LaunchFiles]
    commit: str | None = None
    ref: str | None = None
    files: str = ""
    origin: Origin | None = None

    def find_release(self, facts: Facts) -> str | None:
        """Return the newest id of this same release that hosts have: same content, and nowhere another way to start.

        One that was proven elsewhere counts only where it came from there, with the exact versions it had. One whose
        virtualenv a host has lost and cannot build again does not count.
        """
        candidates: set[str] = set()
        conflicting: set[str] = set()
        for host, start in self.starts.items():
            for release in facts[host].releases:
                if release.content != self.content or not release.complete or not self._came_so(release):
                    continue
                candidates.add(release.id)
                if release.start_sha != start.sha or release.is_lost:
                    conflicting.add(release.id)
        return max(candidates - conflicting, default=None)

    def _came_so(self, release: ReleaseFacts) -> bool:
        return self.origin is None or release.origin == self.origin


@dataclass(frozen=True)
class DesiredRelease:
    """What the run is to bring about. `restart`: also instances that serve it already (reload, new secrets).

    `starts` says for each host how a release that is still to be built starts (`LaunchFiles.sha`), and `venvs` which
    virtualenv it gets, as far as that is known.
    """

    command: str
    release: str
    builds: tuple[str, ...] = ()
    restart: bool = False
    why: str = ""
    all_at_once: bool = False
    starts: Mapping[str, str] = field(default_factory=dict)
    venvs: Mapping[str, str] = field(default_factory=dict)


def content_of(manifest_digest: str, settings: Settings, health: Sequence[Any]) -> str:
    """Return a digest of a release's content: the files, and the settings that are built into it.

    `health` is the request of its health check (`Topology.health_request`): what proved a release proves it again.

    How instances start is apart (`LaunchFiles.sha`), since hosts differ there.
    """
    built_in: dict[str, Any] = {
        "files": manifest_digest,
        "python": settings.python.model_dump(mode="json", by_alias=True),
        "prepare": settings.hooks.prepare.command if settings.hooks.prepare else None,
        "shared": settings.shared,
        "env": settings.env,
        "server": settings.runtime.server,
        "health": health,
    }
    if settings.static is not None:
        built_in["static"] = settings.static.model_dump()
    return hashlib.sha256(json.dumps(built_in, sort_keys=True).encode()).hexdigest()
