"""What `deploy status` answers, as data; `lines` is the same for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from deployer.agent.model.messages.lock import Holder
from deployer.rollout.data import Data
from deployer.rollout.pools.certificates import CertificateStatus
from deployer.rollout.run.holder import holder_text
from deployer.rollout.timestamps import format_utc

NO_ANSWER = "no answer"
"""The state of a server at a balancer that cannot be asked."""

_AGES = ((86400, "d"), (3600, "h"), (60, "min"))


class SlotStatus(Data):
    """What one slot of an instance serves."""

    port: int
    """The port of the slot."""
    release: str | None
    """The release that its processes run; null when nothing runs there."""


class InstanceStatus(Data):
    """One instance."""

    host: str
    """The host's name in the inventory."""
    index: int
    """The number of the instance on its host, from 0."""
    port: int
    """The port of the slot that it serves in."""
    release: str | None
    """The release that its processes run; null when nothing runs."""
    proven: bool
    """Its own processes hold the port, come from that release, and answer the health check."""
    why: str
    """Why it is not proven; empty when it is."""
    memory_bytes: int | None
    """The memory that its processes take; null when it is not known."""
    age_s: int | None
    """For how many seconds its oldest process has lived; null when it is not known."""
    serves: bool | None
    """Users are served by it: its processes are proven, and a live balancer sends it requests; null: nobody knows."""
    unknown_because: str
    """Why nobody knows whether it serves: its host is out of reach, or no balancer can be asked. Empty when known."""
    balancers: dict[str, str]
    """The state of its server at each balancer: UP, DOWN, DRAIN, MAINT, unknown, or `no answer` from that balancer."""
    beside: SlotStatus | None
    """What its other slot serves, from an unfinished run; null when that slot is free."""

    @property
    def lines(self) -> Iterator[str]:
        """A line for the instance, and one for what is beside it."""
        text = f"{self.host}:{self.index} port {self.port}  {self.release or '-'}  {self.why or 'proven'}"
        if self.memory_bytes:
            text += f"  {self.memory_bytes / 1e6:.0f} MB after {_age(self.age_s or 0)}"
        seen = ", ".join(f"{host}: {state}" for host, state in self.balancers.items())
        yield text + (f"  [{seen}]" if seen else "")
        if self.beside:
            which = f"{self.host}:{self.index} port {self.beside.port}  {self.beside.release}"
            yield f"{which}  beside it, from an unfinished run"


class SurplusStatus(Data):
    """A slot in use that the settings no longer have."""

    host: str
    """The host's name in the inventory."""
    port: int | None
    """The port of the slot."""
    release: str | None
    """The release that runs there."""

    def text(self, env: str) -> str:
        """The slot as one line."""
        why = f"no longer in the settings: deploy push {env} drains and stops it"
        return f"{self.host} port {self.port}  {self.release}  {why}"


class ProcessStatus(Data):
    """One process beside the instances."""

    host: str
    """The host's name in the inventory."""
    process: str
    """NAME@NUMBER."""
    release: str | None
    """The release that it is to run; null when it has none."""
    running: bool
    """Its main process lives in that release."""
    why: str
    """Why it does not run; empty when it does."""

    @property
    def text(self) -> str:
        """The process as one line."""
        return f"{self.host}:{self.process}  {self.release or '-'}  {'runs' if self.running else self.why}"


class ScheduleStatus(Data):
    """One schedule on one host."""

    host: str
    """The host's name in the inventory."""
    schedule: str
    """Its name."""
    release: str | None
    """The release that it starts in; null when it is off."""
    why: str
    """What keeps it from being as it should; empty when nothing does."""
    next: int | None
    """When it starts next, in seconds since the epoch; null when that is not known."""
    process: int | None
    """The process of the run that is under way; null when none is."""
    began: int | None
    """When its last run began, or the one under way, in seconds since the epoch."""
    ended: int | None
    """When its last run ended, in seconds since the epoch."""
    result: str
    """What came of its last run; empty when none is known."""

    @property
    def text(self) -> str:
        """The schedule as one line."""
        upcoming = f", next {format_utc(self.next)} UTC" if self.next else ""
        return f"{self.host}:{self.schedule}  {self.release or '-'}  {self.why or 'scheduled'}{upcoming}, {self._last}"

    @property
    def _last(self) -> str:
        if self.process:
            since = f", since {format_utc(self.began)} UTC" if self.began else ""
            return f"runs now (process {self.process}){since}" if self.began else "runs now"
        if self.began is None:
            return "no run yet"
        return f"last {format_utc(self.began)} UTC: {self.result or 'unknown'}"


class MaintenanceStatus(Data):
    """A balancer at which users get the page of maintenance instead of the app."""

    host: str
    """The balancer host."""
    who: str
    """Who closed the app, as USER@MACHINE."""
    reason: str
    """The reason that was given."""
    since: float
    """Since when, in seconds since the epoch."""

    @property
    def text(self) -> str:
        """The record as one line."""
        return f"maintenance since {format_utc(self.since)} UTC by {self.who}: {self.reason}: users get 503"


class LockStatus(Data):
    """The lock of the app on one host, while somebody holds it."""

    host: str
    """The host."""
    who: str | None
    """Who holds it, as USER@MACHINE; null for a moment when it was just taken."""
    run: str | None
    """The run that holds it."""
    command: str | None
    """The command of that run."""
    since: float | None
    """Since when, in seconds since the epoch."""
    lost: float | None
    """Since when the controller of that run is gone, in seconds since the epoch; null while it lives."""
    until: float | None
    """By when the host has wound up after that, in seconds since the epoch; null while the controller lives."""
    pid: int | None = None
    """The process id of the agent that holds it, on that host."""
    silent: int | None = None
    """For how many seconds the agent has shown no sign of life: it is stopped; null while it works."""

    @property
    def text(self) -> str:
        """The lock as one line."""
        holder = Holder(
            who=self.who,
            run=self.run,
            command=self.command,
            since=self.since,
            lost=self.lost,
            until=self.until,
            pid=self.pid,
            silent=self.silent,
        )
        return f"locked by {holder_text(holder)}"


class FreezeStatus(Data):
    """A stop sign for all pushes on one host."""

    host: str
    """The host."""
    who: str | None
    """Who froze it, as USER@MACHINE."""
    reason: str | None
    """The reason that was given."""
    since: float | None
    """Since when, in seconds since the epoch."""

    @property
    def text(self) -> str:
        """The freeze as one line."""
        return f"frozen by {self.who}: {self.reason}"


class RemovedStatus(Data):
    """A host that the app was taken off, and that is still in the inventory."""

    host: str
    """The host."""
    who: str | None
    """Who took the app off, as USER@MACHINE."""

    @property
    def text(self) -> str:
        """The removal as one line."""
        return f"taken off by {self.who}, and still in the inventory"


class HalfDone(Data):
    """A change on a host that was begun and has no outcome."""

    host: str
    """The host."""
    op: str | None
    """The operation, such as switch or stop."""
    instance: int | str | None
    """The number of the instance, or the name of the process."""
    release: str | None
    """The release that it was to get."""
    run: str | None
    """The run that began it."""

    def text(self, env: str) -> str:
        """The change as one line."""
        what = f"{self.op} of instance {self.instance} to {self.release} in run {self.run}"
        return f"half done: {what}; deploy push {env} heals it"


class HeldOut(Data):
    """A server that is kept out of the pool of one balancer."""

    host: str
    """The balancer host."""
    server: str
    """The name of the server in the pool."""
    by: str | None
    """What holds it out: run, person or quarantine."""
    reason: str | None
    """Why."""
    since: float | None
    """Since when, in seconds since the epoch."""

    @property
    def text(self) -> str:
        """The server as one line."""
        return f"{self.server} is held out by {self.by} since {format_utc(self.since)} UTC: {self.reason}"


class Takeover(Data):
    """Something of another tool's that a person allowed to take over, and that is not taken over yet."""

    host: str
    """The host."""
    name: str
    """The unit, or the configuration file with the frontends."""
    action: str
    """What a push does to it."""

    def text(self, env: str) -> str:
        """The takeover as one line."""
        return f"{self.name} on {self.host} is to be taken over ({self.action}): deploy push {env} does it"


class UnfinishedRun(Data):
    """The last run, when it did not finish or only half way, and nobody is at it."""

    run: str
    """The id of the run."""
    command: str
    """Its command."""
    release: str
    """The release that it was to bring."""
    state: Literal["died", "half_way"]
    """It noted no end, or it ended while some instances served its release and others did not."""
    how: str
    """Which instances serve what, for a run that ended half way."""

    def text(self, env: str) -> str:
        """The run as one line, with the ways on."""
        what = "did not finish" if self.state == "died" else f"stopped half way ({self.how})"
        return (
            f"run {self.run} ({self.command} of {self.release}) {what}: deploy push {env} --resume goes on, "
            f"deploy push {env} pushes what is committed, deploy rollback {env} goes back"
        )


class Status(Data):
    """What `deploy status` answers."""

    release: str | None
    """The release that most hosts have as the current one; null when nothing was ever pushed."""
    unreachable: list[str]
    """The hosts that do not answer."""
    instances: list[InstanceStatus]
    """All instances, in the order of the inventory."""
    surplus: list[SurplusStatus]
    """Slots in use that the settings no longer have."""
    processes: list[ProcessStatus]
    """The processes beside the instances."""
    schedules: list[ScheduleStatus]
    """The schedules of each host."""
    maintenance: list[MaintenanceStatus]
    """Balancers that show the page of maintenance."""
    removed: list[RemovedStatus]
    """Hosts that the app was taken off."""
    locks: list[LockStatus]
    """The lock of each host, while somebody holds it."""
    freezes: list[FreezeStatus]
    """Stop signs for pushes."""
    half_done: list[HalfDone]
    """Changes without an outcome."""
    held_out: list[HeldOut]
    """Servers that are kept out of a pool, but for slots that nothing serves in."""
    certificates: list[CertificateStatus]
    """The certificates that the balancers present."""
    takeovers: list[Takeover]
    """What of another tool's is still to be taken over."""
    unfinished: UnfinishedRun | None
    """The last run, when it did not finish; null when it did."""

    def lines(self, env: str) -> Iterator[tuple[str, str]]:
        """The answer for people: pairs of the host that a line is about, or an empty string, and the line."""
        for host in dict.fromkeys(instance.host for instance in self.instances):
            yield from ((host, line) for one in self.instances if one.host == host for line in one.lines)
            yield from ((host, slot.text(env)) for slot in self.surplus if slot.host == host)
            yield from ((host, process.text) for process in self.processes if process.host == host)
            yield from ((host, schedule.text) for schedule in self.schedules if schedule.host == host)
        for notes in (self.maintenance, self.removed, self.locks, self.freezes):
            yield from ((note.host, note.text) for note in notes)
        yield from ((half.host, half.text(env)) for half in self.half_done)
        yield from ((held.host, held.text) for held in self.held_out)
        yield from ((certificate.host, certificate.text) for certificate in self.certificates)
        yield from (("", takeover.text(env)) for takeover in self.takeovers)
        if self.unfinished:
            yield "", self.unfinished.text(env)


def _age(seconds: float) -> str:
    return next((f"{seconds / of:.0f} {unit}" for of, unit in _AGES if seconds >= of), f"{seconds:.0f} s")
