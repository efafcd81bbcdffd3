"""What a supervisor is: how its units are written and which words start, stop and show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Resource
from deployer.agent.model.supervision import Argv, Verbs
from deployer.settings.cron import Cron


@dataclass(frozen=True)
class ProcessSpec:
    """A process of the app on one host: `count` of it, each killed `stop_timeout` seconds after its stop signal."""

    name: str
    count: int
    stop_timeout: float


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule of the app on one host: it runs at these times by the clock of `zone`, at most `timeout` seconds."""

    name: str
    times: Cron
    zone: str
    timeout: float


@dataclass(frozen=True)
class UnitSpec:
    """What the constant units of an app on one host depend on. A release is never part of it.

    `ports` are all slot ports of this host (first and spare); `sockets` is the folder of the instances' UNIX sockets,
    empty where they listen at ports; `graceful` is in seconds; `options` is the user's
    `unit:` map, merged into the unit's own section. `search`: the user's template folders. `processes` and `schedules`
    are those that this host has. `by_ipv6`: users or balancers reach the instances at an IPv6 address.
    """

    site: Site
    ports: tuple[int, ...]
    graceful: float
    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    search: tuple[Path, ...] = ()
    processes: tuple[ProcessSpec, ...] = ()
    schedules: tuple[ScheduleSpec, ...] = ()
    sockets: str = ""
    by_ipv6: bool = False


class Supervisor(Protocol):
    """One supervisor. Pure.

    `starts_schedules` is the program that has to be on a host for that; empty: it does so itself.
    """

    name: str
    starts_schedules: str

    def resources(self, spec: UnitSpec) -> list[Resource]:
        """Return the unit files of the app's slots, processes and schedules, with the handlers that make them known."""

    def schedule_files(self, site: Site, name: str) -> tuple[str, ...]:
        """Return the paths of all that `resources` gives for one schedule, of the files that go with it."""

    def handlers(self, site: Site) -> dict[str, tuple[Argv, ...]]:
        """Return what makes changed units known (`daemon-reload`; `reread` + `add`), by name. Restarts nothing."""

    def verbs(self, site: Site, port: int) -> Verbs:
        """Return the words for the slot at `port`."""

    def process_verbs(self, site: Site, name: str, number: int) -> Verbs:
        """Return the words for number `number` of the process `name`."""

    def schedule_verbs(self, site: Site, name: str) -> Verbs:
        """Return the words for the schedule `name`: `start` and `stop` are of what starts its runs, `pid` is a
        run's."""

    def packages(self) -> tuple[str, ...]:
        """Debian packages that setup installs for it."""
