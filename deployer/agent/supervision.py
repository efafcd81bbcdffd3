"""A supervised instance as plain data: the verbs of its supervisor, how it is judged healthy, how long things take.

Adapters build these on the controller; the agent runs them and never knows which supervisor it talks to.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Tuple

Argv = Tuple[str, ...]


@dataclass(frozen=True)
class Verbs:
    """Commands for one supervised program (`shop@8000.service`, supervisord's `shop-8000`).

    `pid` prints the main process id, `0` or nothing when it is not running. `log` prints the last lines; `{lines}`
    in it is replaced. `journal` is the unit whose lines journald has, `log_file` the path of the file that has them.
    `reset` clears failure counters and may fail. `enable`/`disable`: at boot.

    `socket` is the unit that can hold the port in the program's place (`shop@8000.socket`), empty where the supervisor
    has no such thing. `socket_state` prints words, among them `active` when it is open and `enabled` when it opens at
    boot; `socket_open` and `socket_close` do so now and at boot. `restart` is one job, in which an open socket never
    starts the program by itself.

    `state` is of schedules: it prints lines `KEY=VALUE`, as `agent.schedules` tells them.
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

    `status` None accepts every status below 500. `within` bounds the time from start to healthy.
    """

    path: str = "/"
    status: Optional[int] = None
    host: str = ""
    headers: Dict[str, str] = field(default_factory=dict)
    every: float = 0.5
    within: float = 30.0
    timeout: float = 5.0

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

    def to_wire(self) -> Dict[str, Any]:
        """The instance as JSON data."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Dict[str, Any]) -> "Instance":
        """The instance that JSON data describes."""
        fields = dict(data)
        verbs, health = _verbs(fields.pop("verbs")), Health(**fields.pop("health"))
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

    def to_wire(self) -> Dict[str, Any]:
        """The process as JSON data."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Dict[str, Any]) -> "Process":
        """The process that JSON data describes."""
        return cls(**{**data, "verbs": _verbs(data["verbs"])})


@dataclass(frozen=True)
class Schedule:
    """One command that runs at times. `graceful` seconds are given to a run, from its start to its last process."""

    name: str
    verbs: Verbs
    graceful: float

    def to_wire(self) -> Dict[str, Any]:
        """The schedule as JSON data."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Dict[str, Any]) -> "Schedule":
        """The schedule that JSON data describes."""
        return cls(**{**data, "verbs": _verbs(data["verbs"])})


def label_of(name: str, number: int) -> str:
    """`worker@1`: number 1 of the process `worker`."""
    return "%s@%d" % (name, number)


def parts_of(label: str) -> Tuple[str, int]:
    """The name and the number that `label_of` joined."""
    name, _, number = label.partition("@")
    return name, int(number)


def _verbs(data: Dict[str, Any]) -> Verbs:
    fields: Dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return Verbs(**fields)


def instances_from_wire(items: List[Dict[str, Any]]) -> List[Instance]:
    """`Instance.from_wire` for a list."""
    return [Instance.from_wire(item) for item in items]
