"""What is true on the hosts, as read by `host.survey`, `instance.prove` and `balancer.state` before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from deployer.agent.model.health_record import HealthRecord
from deployer.agent.model.messages import host as wire
from deployer.agent.model.messages.balancer import HeldRecord, ServerState
from deployer.agent.model.messages.freeze import FreezeRecord
from deployer.agent.model.messages.instances import ProcessState, ScheduleState
from deployer.agent.model.messages.lock import Holder
from deployer.agent.model.messages.releases import Origin
from deployer.agent.model.messages.site import HalfDone
from deployer.agent.model.messages.takeover import Adoption


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
    origin: Origin | None = None
    health_check_digest: str = ""
    health: HealthRecord | None = None
    processes: tuple[str, ...] = ()
    damage: str = ""
    repairable: bool = False
    resolved_at: int = 0

    @property
    def is_lost(self) -> bool:
        """Whether its virtualenv is damaged beyond what the host can build again."""
        return bool(self.damage) and not self.repairable

    @classmethod
    def of(cls, data: wire.ReleaseFolder) -> ReleaseFacts:
        """From one entry of the survey's `releases`."""
        resolution = data["resolution"]
        return cls(
            id=data["id"],
            complete=data["complete"],
            proven=data["proven"],
            withdrawn=data["withdrawn"],
            content=data["content"] or "",
            start_sha=data["start_sha"] or "",
            venv=data["venv"] or "",
            bind=data["bind"] or "port",
            commit=data["commit"],
            created=data["created"] or 0.0,
            origin=data["origin"],
            health_check_digest=data["asked"] or "",
            health=data["health"],
            processes=tuple(data["processes"] or ()),
            damage=data.get("damage", ""),
            repairable=data.get("repairable", False),
            resolved_at=int(resolution["at"]) if resolution else 0,
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
    """One host before the run. `survey` is what its agent reported; None for a host that is lost.

    `serving` is what each instance serves in the slot that counts; `beside` what its other slot has, where that is in
    use too: a run died, or is under way, between a successor's start and the end of what was there before.
    """

    name: str
    survey: wire.HostFacts | None = None
    serving: Mapping[int, Serving] = field(default_factory=dict)
    beside: Mapping[int, Serving] = field(default_factory=dict)
    process_states: Mapping[str, ProcessState] = field(default_factory=dict)
    schedule_states: Mapping[str, ScheduleState] = field(default_factory=dict)

    # -- the host -----------------------------------------------------------------------------------------------------

    @property
    def user(self) -> str:
        """The user that the agent runs as."""
        return self._known.get("user", "")

    @property
    def arch(self) -> str:
        """The architecture of the machine: `x86_64`."""
        return self._known.get("arch", "")

    @property
    def own_python(self) -> wire.Interpreter:
        """The Python that runs the agent; empty texts where it is not known."""
        return self._known.get("python") or {"version": "", "path": ""}

    @property
    def pythons(self) -> Mapping[str, str | None]:
        """Version → path of each Python that was looked for; None: not there."""
        return self._known.get("pythons") or {}

    @property
    def tools(self) -> Mapping[str, str | None]:
        """Name → path of each program that was looked for; None: not there."""
        return self._known.get("tools") or {}

    @property
    def machine(self) -> wire.Machine:
        """The machine and what limits it; what is not known is missing."""
        return self._known

    @property
    def free_bytes(self) -> int:
        """Bytes that are free on the file system of the root."""
        return self._known.get("free_bytes", 0)

    @property
    def ports(self) -> Mapping[str, wire.PortHolder | None]:
        """Port (as text) → who listens there; None: nobody."""
        return self._known.get("ports") or {}

    @property
    def sources(self) -> Mapping[str, str]:
        """Address of an app's host → the address of this host that it sees."""
        return self._known.get("sources") or {}

    # -- the site -----------------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether the root is there."""
        return self._known.get("exists", False)

    @property
    def owner(self) -> wire.Owner | None:
        """Whose the root is; None: nobody has said so yet."""
        return self._known.get("owner")

    @property
    def removed(self) -> wire.Removal | None:
        """Who took the app off this host, and when; None: it is there, or never was."""
        return self.owner.get("removed") if self.owner else None

    @property
    def set_up(self) -> bool:
        """The site's folder is there, the agent may write it, and nobody took the app off."""
        return self.exists and self._known.get("writable", False) and not self.removed

    @property
    def frozen(self) -> FreezeRecord | None:
        """Who stopped pushes; None: nobody."""
        return self._known.get("frozen")

    @property
    def lock(self) -> Holder | None:
        """Who holds the lock; None: nobody."""
        return self._known.get("lock")

    @property
    def adoption(self) -> Adoption | None:
        """What of another tool's a person has allowed to take over; None: nothing."""
        return self._known.get("adoption")

    @property
    def unwritable(self) -> Sequence[wire.PathProblem]:
        """What a push writes, and this user cannot."""
        return self._known.get("unwritable") or []

    @property
    def foreign(self) -> wire.ForeignPaths | None:
        """Paths in `shared/` of other users; None: there are none."""
        return self._known.get("foreign")

    @property
    def half_done(self) -> Sequence[HalfDone]:
        """What was begun on the host and has no outcome."""
        return self._known.get("half_done") or []

    @property
    def current(self) -> str | None:
        """The release that `current` points at."""
        return self._known.get("current") or None

    @property
    def slots(self) -> Mapping[int, str]:
        """Port → release of every slot in use."""
        return {int(port): release for port, release in (self._known.get("slots") or {}).items()}

    @property
    def releases(self) -> tuple[ReleaseFacts, ...]:
        """Release folders, oldest first."""
        folders = self._known.get("releases") or []
        return tuple(sorted(map(ReleaseFacts.of, folders), key=lambda release: release.id))

    def release(self, release: str) -> ReleaseFacts | None:
        """Return the folder of that id, if there is one."""
        return next((record for record in self.releases if record.id == release), None)

    @property
    def processes(self) -> dict[str, Running]:
        """`worker@1` → what is there of it (`processes.state`)."""
        return {
            label: Running(state["release"], state["running"], state["why"])
            for label, state in self.process_states.items()
        }

    @property
    def schedules(self) -> dict[str, Scheduled]:
        """`nightly` → what is there of it (`schedules.state`)."""
        return {
            name: Scheduled(
                state["release"],
                state["why"],
                state["pid"] or 0,
                state["next"],
                state["began"],
                state["ended"],
                state["result"] or "",
            )
            for name, state in self.schedule_states.items()
        }

    def holds_port(self, port: int) -> bool:
        """Return whether the supervisor has that port open for the instance."""
        holder = self.ports.get(str(port))
        return holder is not None and holder["socket"]

    @property
    def _known(self) -> wire.HostFacts:
        return self.survey or cast("wire.HostFacts", {})


@dataclass(frozen=True)
class Facts:
    """All hosts, and per balancer the state of this app's servers (`balancer.state`)."""

    hosts: Mapping[str, HostFacts]
    pools: Mapping[str, Mapping[str, ServerState]] = field(default_factory=dict)

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
        return [host.release(release) for host in self.hosts.values() for release in host.slots.values()]

    def in_use(self) -> set[str]:
        """Return servers that some balancer sends requests to."""
        return {name for servers in self.pools.values() for name, state in servers.items() if state["serves"]}

    def held(self) -> dict[str, HeldRecord]:
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
            if state["state"] == "MAINT" and not state["held"]
        }

    def _records(self) -> dict[str, HeldRecord]:
        records: dict[str, HeldRecord] = {}
        for servers in self.pools.values():
            for server, state in servers.items():
                if state["held"]:
                    records.setdefault(server, state["held"])
        return records
