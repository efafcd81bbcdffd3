"""What is true on the hosts, as read by `host.survey`, `instance.prove` and `balancer.state` before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ReleaseFacts:
    """A release folder on a host. `content` and `start_sha` tell whether it is the one that would be built.

    `venv` names the virtualenv of its dependencies; `bind` says whether it listens at a `port` or a `unix` socket, and
    `health_check_digest` how it was asked for its health (`Topology.health_check_digest`), and `health` that request
    (`Health.record`); `processes` are those that it was built with.
    `origin` (`env, release`) is where it was proven before. `damage` says what is wrong with its virtualenv, which the
    host can build again if it is `repairable`; empty: nothing. `resolved_at` is when its unlocked dependencies were
    resolved, in seconds since the epoch; 0: all are locked, or it is not known.
    """

    id: str
    complete: bool
    proven: bool
    withdrawn: bool
    content: str
    start_sha: str
    venv: str
    bind: str
    commit: str | None
    created: float
    origin: Mapping[str, str] | None = None
    health_check_digest: str = ""
    health: Mapping[str, Any] | None = None
    processes: tuple[str, ...] = ()
    damage: str = ""
    repairable: bool = False
    resolved_at: int = 0

    @property
    def is_lost(self) -> bool:
        """Whether its virtualenv is damaged beyond what the host can build again."""
        return bool(self.damage) and not self.repairable

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> ReleaseFacts:
        """From one entry of the survey's `releases`."""
        return cls(
            id=str(data["id"]),
            complete=bool(data.get("complete")),
            proven=bool(data.get("proven")),
            withdrawn=bool(data.get("withdrawn")),
            content=str(data.get("content") or ""),
            start_sha=str(data.get("start_sha") or ""),
            venv=str(data.get("venv") or ""),
            bind=str(data.get("bind") or "port"),
            commit=data.get("commit"),
            created=float(data.get("created") or 0),
            origin=data.get("origin"),
            health_check_digest=str(data.get("asked") or ""),
            health=data.get("health"),
            processes=tuple(map(str, data.get("processes") or ())),
            damage=str(data.get("damage") or ""),
            repairable=bool(data.get("repairable")),
            resolved_at=int((data.get("resolution") or {}).get("at") or 0),
        )


@dataclass(frozen=True)
class Serving:
    """What one instance serves, judged from its processes. `proven` is for `release`; `why` says what is wrong.

    `memory` (bytes) is what its processes take, the oldest of which has lived for `age` (seconds); 0: not known.
    `unseen`: the SSH user may not look at its processes, so whether it serves is not known.
    """

    port: int
    release: str | None
    proven: bool
    why: str = ""
    memory: int = 0
    age: float = 0.0
    unseen: bool = False


@dataclass(frozen=True)
class Running:
    """A process beside the instances. `release` is what its link names; `running`: its main process lives in that."""

    release: str | None
    running: bool
    why: str = ""


@dataclass(frozen=True)
class Scheduled:
    """A schedule on a host. `release` is what its link names; `why` what keeps it from running at its times.

    `pid` is of a run under way; `next`, `began` and `ended` are seconds since the epoch, of the next and the last run,
    and `result` says what came of that. None or 0 where the host cannot tell.
    """

    release: str | None
    why: str = ""
    pid: int = 0
    next: int | None = None
    began: int | None = None
    ended: int | None = None
    result: str = ""

    @property
    def last(self) -> dict[str, Any] | None:
        """The last run as JSON data; None where none is known."""
        return {"began": self.began, "ended": self.ended, "result": self.result} if self.began else None


@dataclass(frozen=True)
class HostFacts:
    """One host before the run. `raw` is the whole survey.

    `serving` is what each instance serves in the slot that counts; `beside` what its other slot has, where that is in
    use too: a run died, or is under way, between a successor's start and the end of what was there before.
    """

    name: str
    raw: Mapping[str, Any]
    serving: Mapping[int, Serving] = field(default_factory=dict)
    beside: Mapping[int, Serving] = field(default_factory=dict)

    @property
    def current(self) -> str | None:
        """The release that `current` points at."""
        value = self.raw.get("current")
        return str(value) if value else None

    @property
    def releases(self) -> tuple[ReleaseFacts, ...]:
        """Release folders, oldest first."""
        return tuple(sorted((ReleaseFacts.of(record) for record in self.raw.get("releases", ())), key=lambda r: r.id))

    def release(self, release: str) -> ReleaseFacts | None:
        """Return the folder of that id, if there is one."""
        return next((record for record in self.releases if record.id == release), None)

    @property
    def processes(self) -> dict[str, Running]:
        """`worker@1` → what is there of it (`processes.state`)."""
        states = self.raw.get("process_state") or {}
        return {
            label: Running(state.get("release"), bool(state.get("running")), str(state.get("why") or ""))
            for label, state in states.items()
        }

    @property
    def schedules(self) -> dict[str, Scheduled]:
        """`nightly` → what is there of it (`schedules.state`)."""
        states = self.raw.get("schedule_state") or {}
        return {
            name: Scheduled(
                state.get("release"),
                str(state.get("why") or ""),
                int(state.get("pid") or 0),
                state.get("next"),
                state.get("began"),
                state.get("ended"),
                str(state.get("result") or ""),
            )
            for name, state in states.items()
        }

    def holds_port(self, port: int) -> bool:
        """Return whether the supervisor has that port open for the instance."""
        return bool(((self.raw.get("ports") or {}).get(str(port)) or {}).get("socket"))

    @property
    def sources(self) -> Mapping[str, str]:
        """Address of an app's host → the address of this host that it sees."""
        sources: Mapping[str, str] = self.raw.get("sources") or {}
        return sources

    @property
    def removed(self) -> Mapping[str, Any] | None:
        """Who took the app off this host, and when (`who, run, since`); None: it is there, or never was."""
        removal: Mapping[str, Any] | None = (self.raw.get("owner") or {}).get("removed")
        return removal

    @property
    def set_up(self) -> bool:
        """Whether the site's folder exists, the agent may write it, and the app was not removed."""
        return bool(self.raw.get("exists")) and bool(self.raw.get("writable")) and not self.removed


@dataclass(frozen=True)
class Facts:
    """All hosts, and per balancer the state of this app's servers (`balancer.state`)."""

    hosts: Mapping[str, HostFacts]
    pools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __getitem__(self, host: str) -> HostFacts:
        return self.hosts[host]

    def known(self, release: str) -> ReleaseFacts | None:
        """Return a release as the first host has it that does."""
        return next((record for host in self.hosts.values() if (record := host.release(release))), None)

    def health_check_digests(self) -> set[str]:
        """Return how the releases of all slots in use were asked for their health; an empty word for one that is not
        known."""
        return {release.health_check_digest if release else "" for release in self._in_slots()}

    def serving_releases(self) -> list[ReleaseFacts]:
        """Return the releases of all slots in use, as far as their hosts know them."""
        return [release for release in self._in_slots() if release]

    def _in_slots(self) -> list[ReleaseFacts | None]:
        return [
            host.release(str(release))
            for host in self.hosts.values()
            for release in (host.raw.get("slots") or {}).values()
        ]

    def in_use(self) -> set[str]:
        """Return servers that some balancer sends requests to."""
        return {name for servers in self.pools.values() for name, state in servers.items() if state.get("serves")}

    def held(self) -> dict[str, dict[str, Any]]:
        """Return servers that are held out of a balancer: server name → by, reason, since, run."""
        return {name: record for name, record in self._records().items() if record["by"] != "spare"}

    def spare(self) -> set[str]:
        """Return servers that a balancer knows as slots that are not in use."""
        return {name for name, record in self._records().items() if record["by"] == "spare"}

    def unexplained(self) -> set[str]:
        """Return servers that a balancer keeps in maintenance without a recorded reason: they are new to it."""
        return {
            server
            for servers in self.pools.values()
            for server, state in servers.items()
            if state.get("state") == "MAINT" and not state.get("held")
        }

    def _records(self) -> dict[str, dict[str, Any]]:
        records: dict[str, dict[str, Any]] = {}
        for servers in self.pools.values():
            for server, state in servers.items():
                if state.get("held"):
                    records.setdefault(server, dict(state["held"]))
        return records
