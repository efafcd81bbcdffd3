"""A supervised instance as plain data: the verbs of its supervisor, how it is judged healthy, how long things take.

Adapters build these on the controller; the agent runs them and never knows which supervisor it talks to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from deployer.agent.model.typed import Wire

if TYPE_CHECKING:
    from deployer.agent.model.health_record import HealthRecord

Argv = tuple[str, ...]

USUAL_REFUSALS = (401, 403, 404, 405)
"""Statuses from 400 on with which an app without a health path is healthy: it serves, and refuses this request."""
USUALLY_HEALTHY = "a status below 400, or 401, 403, 404 or 405"
USER_AGENT = "deploy-health"
"""What all health checks call themselves, so that logs can leave them out."""
FORWARDED_PROTO = "X-Forwarded-Proto"


@dataclass(frozen=True)
class Verbs:
    """Commands for one supervised program (`shop@8000.service`, supervisord's `shop-8000`).

    `pid` prints the main process id, `0` or nothing when it is not running. `log` prints the last lines; `{lines}`
    in it is replaced. `journal` is the unit whose lines journald has, `log_file` the path of the file that has them.
    `reset` clears failure counters and may fail. `enable`/`disable`: at boot.

    `socket` is the unit that can hold the port in the program's place (`shop@8000.socket`), empty where the supervisor
    has no such thing. `socket_state` prints words: `active` when it is open, `enabled` when it opens at boot.
    `socket_open` and `socket_close` do so now and at boot. `restart` is one job, in which an open socket never starts
    the program by itself.

    `state` is of schedules: it prints lines `KEY=VALUE`, as `agent.instance.schedules` lists them.
    """

    unit: str
    start: Argv
    stop: Argv
    pid: Argv
    log: Argv
    reset: Argv = ()
    enable: Argv = ()
    disable: Argv = ()
    restart: Argv = ()
    socket: str = ""
    socket_state: Argv = ()
    socket_open: Argv = ()
    socket_close: Argv = ()
    state: Argv = ()
    journal: str = ""
    log_file: str = ""


@dataclass(frozen=True)
class Health:
    """How an instance shows that it can serve: `GET path` at address:port. All durations in seconds.

    `status` None accepts every status below 400, and `USUAL_REFUSALS`. `within` bounds the time from start to healthy.
    `https`: users reach the app by TLS, so the request carries `X-Forwarded-Proto: https`, unless `headers` has that
    header. `lenient` accepts every status below 500, whatever `status` says: balancers check so while releases with
    different health checks serve side by side.
    """

    path: str = "/"
    status: int | None = None
    host: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    every: float = 0.5
    within: float = 30.0
    timeout: float = 5.0
    https: bool = False
    lenient: bool = False

    def to_wire(self) -> Wire[Health]:
        """The health check as JSON data."""
        return cast("Wire[Health]", asdict(self))

    @classmethod
    def from_wire(cls, data: Wire[Health]) -> Health:
        """The health check that JSON data describes."""
        fields: dict[str, Any] = dict(data)
        return cls(**fields)

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers of the request beside `Host`."""
        known = {name.lower() for name in self.headers}
        forwarded = self.https and FORWARDED_PROTO.lower() not in known
        return {**self.headers, **({FORWARDED_PROTO: "https"} if forwarded else {})}

    @property
    def named_headers(self) -> dict[str, str]:
        """`sent_headers`, with the name that all health checks have in access logs."""
        known = {name.lower() for name in self.headers}
        return {**({} if "user-agent" in known else {"User-Agent": USER_AGENT}), **self.sent_headers}

    def accepts(self, status: int) -> bool:
        """Whether an answer with that status is healthy."""
        if self.lenient:
            return status < 500
        if self.status is not None:
            return status == self.status
        return status < 400 or status in USUAL_REFUSALS

    @property
    def wanted(self) -> str:
        """The statuses that count as healthy, in words."""
        if self.lenient:
            return "a status below 500"
        if self.status is not None:
            return str(self.status)
        return USUALLY_HEALTHY

    def record(self) -> HealthRecord:
        """What a release keeps of its health check, as JSON data: all that it takes to send the same request again."""
        return {
            "path": self.path,
            "status": self.status,
            "host": self.host,
            "headers": self.headers,
            "https": self.https,
            "within": self.within,
            "timeout": self.timeout,
        }

    def recorded(self, record: Mapping[str, Any]) -> Health:
        """This health check with the request of a release, by what `record` returned when the release was built.

        The longer time of both counts. A release of an earlier version recorded only `path` and `status`, where None
        meant every status below 500, and was never sent `X-Forwarded-Proto`.
        """
        if "headers" not in record:
            older = {name: record[name] for name in ("path", "status") if name in record}
            lenient = self.lenient or ("status" in record and record["status"] is None)
            return replace(self, **older, https=False, lenient=lenient)
        known = {name: record[name] for name in ("path", "status", "host", "headers", "https") if name in record}
        times = {name: max(getattr(self, name), float(record.get(name) or 0)) for name in ("within", "timeout")}
        return replace(self, **known, **times)

    @property
    def within_again(self) -> float:
        """Seconds for a release that served before: it is known to be good, so a busy host is given more time."""
        return max(self.within, 30.0)


@dataclass(frozen=True)
class Instance:
    """One supervised server of an app on one host. `port` is the slot in use or to be used.

    `address` is where it binds and is probed. `graceful` seconds are given to requests in flight at a stop; the
    supervisor kills `graceful + 10` seconds after it asked. `socket`: the supervisor holds the port, so that requests
    wait while the instance restarts.
    """

    index: int
    port: int
    address: str
    verbs: Verbs
    health: Health
    graceful: float = 30.0
    socket: bool = False

    def to_wire(self) -> Wire[Instance]:
        """The instance as JSON data."""
        return cast("Wire[Instance]", asdict(self))

    @classmethod
    def from_wire(cls, data: Wire[Instance]) -> Instance:
        """The instance that JSON data describes."""
        fields: dict[str, Any] = dict(data)
        verbs, health = _verbs(fields.pop("verbs")), Health.from_wire(fields.pop("health"))
        return cls(verbs=verbs, health=health, **fields)

    @property
    def longest_switch(self) -> float:
        """Seconds that a switch to a new release and the way back may take together."""
        return 2 * (self.graceful + 15.0 + 5.0) + self.health.within + self.health.within_again


@dataclass(frozen=True)
class Process:
    """One supervised command beside the instances: `worker@1` is number 1 of the process `worker`.

    `graceful` seconds are given to it after SIGTERM; then the supervisor kills it. `steady` seconds it has to live for
    its release to count as proven.
    """

    name: str
    number: int
    verbs: Verbs
    graceful: float
    steady: float = 3.0

    @property
    def label(self) -> str:
        """`worker@1`, the name of its link."""
        return label_of(self.name, self.number)

    def to_wire(self) -> Wire[Process]:
        """The process as JSON data."""
        return cast("Wire[Process]", asdict(self))

    @classmethod
    def from_wire(cls, data: Wire[Process]) -> Process:
        """The process that JSON data describes."""
        fields: dict[str, Any] = {**data, "verbs": _verbs(data["verbs"])}
        return cls(**fields)


@dataclass(frozen=True)
class Schedule:
    """One command that runs at times. `graceful` seconds are given to a run, from its start to its last process."""

    name: str
    verbs: Verbs
    graceful: float

    def to_wire(self) -> Wire[Schedule]:
        """The schedule as JSON data."""
        return cast("Wire[Schedule]", asdict(self))

    @classmethod
    def from_wire(cls, data: Wire[Schedule]) -> Schedule:
        """The schedule that JSON data describes."""
        fields: dict[str, Any] = {**data, "verbs": _verbs(data["verbs"])}
        return cls(**fields)


def label_of(name: str, number: int) -> str:
    """`worker@1`: number 1 of the process `worker`."""
    return "%s@%d" % (name, number)


def parts_of(label: str) -> tuple[str, int]:
    """The name and the number that `label_of` joined."""
    name, _, number = label.partition("@")
    return name, int(number)


def _verbs(data: Any) -> Verbs:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return Verbs(**fields)


def instances_from_wire(items: list[Wire[Instance]]) -> list[Instance]:
    """`Instance.from_wire` for a list."""
    return [Instance.from_wire(item) for item in items]
