"""systemd: one template unit per app, `shop@.service`, whose instance name is the port of a slot.

Beside it lies `shop@.socket`, by which systemd itself can hold the port of a slot and hand it to the service. It is
open for an instance whose strategy says so, and else not even loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deployer import templating
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import BootUnit, File, Resource
from deployer.agent.model.supervision import Argv, Verbs, label_of
from deployer.supervisors.base import ProcessSpec, ScheduleSpec, UnitSpec
from deployer.supervisors.socket_folder import socket_folder
from deployer.supervisors.unit_options import merged, own_options, process_options, schedule_options

RELOAD = "systemd-reload"


class Systemd:
    """The unit is constant: a release changes neither its text nor anything that systemd has loaded."""

    name = "systemd"
    starts_schedules = ""

    def resources(self, spec: UnitSpec) -> list[Resource]:
        """`<app>@.service` and `<app>@.socket` in `/etc/systemd/system`. People's own drop-ins are left alone."""
        site = spec.site
        sections = merged(own_options(spec), spec.options)
        text = templating.render("systemd/app@.service.j2", search=spec.search, site=site, service=sections)
        port = templating.render(
            "systemd/app@.socket.j2",
            search=spec.search,
            site=site,
            sockets=spec.sockets,
            address="[::]" if spec.by_ipv6 else "0.0.0.0",
        )
        folder = site.system("/etc/systemd/system")
        return [
            *socket_folder(spec),
            File(path=f"{folder}/{site.app}@.service", content=text, notify=(RELOAD,)),
            File(path=f"{folder}/{site.app}@.socket", content=port, notify=(RELOAD,)),
            *(self._process(spec, process) for process in spec.processes),
            *(file for schedule in spec.schedules for file in self._schedule(spec, schedule)),
            *self._boot_units(spec),
        ]

    def _boot_units(self, spec: UnitSpec) -> Iterator[BootUnit]:
        """Yield what starts at boot while its link exists: services, timers, and sockets that are open."""
        site = spec.site
        for port in spec.ports:
            verbs, link = self.verbs(site, port), site.slot(port)
            yield _boot_unit(verbs, link)
            yield BootUnit(verbs.socket, link, verbs.socket_state, _enable(verbs.socket), active_only=True)
        for process in spec.processes:
            for number in range(1, process.count + 1):
                link = site.process(label_of(process.name, number))
                yield _boot_unit(self.process_verbs(site, process.name, number), link)
        for schedule in spec.schedules:
            yield _boot_unit(self.schedule_verbs(site, schedule.name), site.schedule(schedule.name))

    def schedule_files(self, site: Site, name: str) -> tuple[str, ...]:
        """Return the service, which is one run, and the timer."""
        folder = site.system("/etc/systemd/system")
        return tuple(f"{folder}/{site.app}-{name}.{kind}" for kind in ("service", "timer"))

    def _process(self, spec: UnitSpec, process: ProcessSpec) -> Resource:
        """`<app>-<process>@.service`, whose instance name is the number of the process."""
        site = spec.site
        sections = merged(process_options(site, process), spec.options)
        text = templating.render(
            "systemd/process@.service.j2", search=spec.search, site=site, process=process.name, service=sections
        )
        path = site.system(f"/etc/systemd/system/{site.app}-{process.name}@.service")
        return File(path=path, content=text, notify=(RELOAD,))

    def _schedule(self, spec: UnitSpec, schedule: ScheduleSpec) -> list[Resource]:
        """`<app>-<schedule>.service`, which is one run, and the timer that starts it."""
        service, timer = self.schedule_files(spec.site, schedule.name)
        sections = merged(schedule_options(spec.site, schedule), spec.options)
        known = {"site": spec.site, "schedule": schedule}
        times = schedule.times.on_calendar(schedule.zone)
        run = templating.render("systemd/schedule.service.j2", search=spec.search, service=sections, **known)
        when = templating.render("systemd/schedule.timer.j2", search=spec.search, times=times, **known)
        return [File(path=service, content=run, notify=(RELOAD,)), File(path=timer, content=when, notify=(RELOAD,))]

    def handlers(self, site: Site) -> dict[str, tuple[Argv, ...]]:
        """`daemon-reload`, which restarts nothing."""
        return {RELOAD: (("systemctl", "daemon-reload"),)}

    def verbs(self, site: Site, port: int) -> Verbs:
        """Return the words for `<app>@<port>.service`."""
        socket = f"{site.app}@{port}.socket"
        return replace(
            _unit_verbs(f"{site.app}@{port}.service"),
            socket=socket,
            socket_state=_words('systemctl is-active "$1"; systemctl is-enabled "$1" 2>/dev/null', socket),
            socket_open=_words('systemctl enable --root=/ --quiet "$1" && exec systemctl start "$1"', socket),
            socket_close=_words('systemctl disable --root=/ --quiet "$1"; exec systemctl stop "$1"', socket),
        )

    def process_verbs(self, site: Site, name: str, number: int) -> Verbs:
        """Return the words for `<app>-<name>@<number>.service`."""
        return _unit_verbs(f"{site.app}-{name}@{number}.service")

    def schedule_verbs(self, site: Site, name: str) -> Verbs:
        """Return the words for `<app>-<schedule>.timer` and the service it starts."""
        timer, service = f"{site.app}-{name}.timer", f"{site.app}-{name}.service"
        of_service = _unit_verbs(service)
        return replace(
            _unit_verbs(timer),
            pid=of_service.pid,
            log=of_service.log,
            journal=of_service.journal,
            reset=of_service.reset,
            state=("sh", "-c", templating.render("systemd/schedule-state.sh.j2"), "systemd", timer, service),
        )

    def packages(self) -> tuple[str, ...]:
        """None: it is the host's own."""
        return ()


def _unit_verbs(unit: str) -> Verbs:
    return Verbs(
        unit=unit,
        start=("systemctl", "start", unit),
        stop=("systemctl", "stop", unit),
        pid=("systemctl", "show", "--property", "MainPID", "--value", unit),
        log=("journalctl", "--unit", unit, "--lines", "{lines}", "--output", "cat", "--no-pager", "--quiet"),
        journal=unit,
        reset=("systemctl", "reset-failed", unit),
        # Done on the disk, not by the manager: that would reload all of systemd, which costs more than a restart,
        # or, with --no-reload, call every unit of the host outdated from then on (systemd 257).
        enable=_enable(unit),
        disable=("systemctl", "disable", "--root=/", "--quiet", unit),
        restart=("systemctl", "restart", unit),
    )


def _enable(unit: str) -> Argv:
    return ("systemctl", "enable", "--root=/", "--quiet", unit)


def _boot_unit(verbs: Verbs, link: str) -> BootUnit:
    return BootUnit(verbs.unit, link, ("systemctl", "is-enabled", "--root=/", verbs.unit), verbs.enable)


def _words(script: str, unit: str) -> Argv:
    """Return a line for sh, in which `$1` is the unit."""
    return ("sh", "-c", script, "systemd", unit)
