"""supervisord: one program per slot, `shop-8000`, in one configuration file per app.

A slot without a link must stay down after a reboot, and a slot with one must come up. So every program starts by
itself and is restarted whatever ends it, but for exit status 78, with which it says that its slot has no link.
supervisord counts an end within `startsecs` as a failed start, hence the two seconds' wait before that exit.

A changed definition is never made known while its program runs, since `update` would restart all changed programs at
once: the verb `start` takes a new definition in, when the program is down anyway.

It starts nothing at times, so schedules are cron's: `/etc/cron.d/<app>-<schedule>` asks a script whether it is time by
the clock of the schedule's zone. The runs' output, lock and state lie in `/var/log/<app>-schedules`.
"""

from __future__ import annotations

from deployer import templating
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File, Resource, Service
from deployer.agent.model.supervision import Argv, Verbs
from deployer.errors import SettingsError
from deployer.supervisors.base import ScheduleSpec, UnitSpec
from deployer.supervisors.program_options import program_options
from deployer.supervisors.socket_folder import socket_folder
from deployer.supervisors.unit_options import KILL_AFTER, STOP_RUN, start_words

ADD = "supervisord-add"
_LOGS = "/var/log/supervisor"
_CONFIGURED = "/etc/supervisor/conf.d"


class Supervisord:
    """Works as root on a host, and as a plain user below a prefix (a lab of processes)."""

    name = "supervisord"
    starts_schedules = "cron"

    def resources(self, spec: UnitSpec) -> list[Resource]:
        """`/etc/supervisor/conf.d/<app>.conf`, and the folder of the logs."""
        options = program_options(spec.options)
        site = spec.site
        text = templating.render(
            "supervisord/app.conf.j2",
            search=spec.search,
            site=site,
            ports=spec.ports,
            user="" if site.prefix else site.user,
            stop_wait=int(-(-(spec.graceful + KILL_AFTER) // 1)),
            logs=site.system(_LOGS),
            before=options.before,
            umask=options.umask,
            processes=[
                {
                    "name": process.name,
                    "count": process.count,
                    "start": start_words(process.name),
                    "stop_wait": int(-(-process.stop_timeout // 1)),
                }
                for process in spec.processes
            ],
        )
        return [
            *socket_folder(spec),
            Directory(path=site.system(_LOGS)),
            File(path=site.system(f"{_CONFIGURED}/{site.app}.conf"), content=text, notify=(ADD,)),
            *(item for schedule in spec.schedules for item in self._schedule(spec, schedule)),
            *self._services(spec),
        ]

    def _services(self, spec: UnitSpec) -> list[Resource]:
        """Return what starts at boot: supervisord, which starts every program whose link exists, and cron for
        schedules."""
        if spec.site.prefix:
            return []
        names = ["supervisor", *(["cron"] if spec.schedules else [])]
        return [Service(name, running=False) for name in names]

    def schedule_files(self, site: Site, name: str) -> tuple[str, ...]:
        """Return the script, and the file by which cron calls it."""
        return f"{site.state}/schedule-{name}.sh", site.system(f"/etc/cron.d/{site.app}-{name}")

    def _schedule(self, spec: UnitSpec, schedule: ScheduleSpec) -> list[Resource]:
        site = spec.site
        if site.prefix:
            raise SettingsError(
                f"schedules.{schedule.name}: a lab of processes has no cron",
                hint="deploy lab up --kind machines, or write schedules: null in the overlay of the lab",
            )
        script, cron_file = self.schedule_files(site, schedule.name)
        known = {"site": site, "schedule": schedule}
        logs = _schedule_logs(site)
        once = templating.render(
            "supervisord/schedule.sh.j2",
            search=spec.search,
            logs=logs,
            start=start_words(schedule.name),
            stop_run=STOP_RUN,
            **known,
        )
        when = templating.render(
            "supervisord/schedule.cron.j2",
            search=spec.search,
            minutes=_minutes_anywhere(schedule),
            user=site.user or "root",
            script=script,
            **known,
        )
        return [
            Directory(path=logs, owner=site.user),
            File(path=script, content=once, mode="0755"),
            File(path=cron_file, content=when),
        ]

    def handlers(self, site: Site) -> dict[str, tuple[Argv, ...]]:
        """`reread`, then `add` of this app's programs that are new. Whatever runs is left as it is."""
        programs = site.system(f"{_CONFIGURED}/{site.app}.conf")
        return {ADD: ((*_script("supervisord/add.sh.j2", site), site.app, programs),)}

    def verbs(self, site: Site, port: int) -> Verbs:
        """Return the words for the program `<app>-<port>`."""
        return _program_verbs(site, f"{site.app}-{port}", site.slot(port))

    def process_verbs(self, site: Site, name: str, number: int) -> Verbs:
        """Return the words for the program `<app>-<name>-<number>`."""
        return _program_verbs(site, f"{site.app}-{name}-{number}", site.process(f"{name}@{number}"))

    def schedule_verbs(self, site: Site, name: str) -> Verbs:
        """Return the words for what `/etc/cron.d/<app>-<schedule>` runs.

        Whether it does is for the schedule's link to say.
        """
        script, cron_file = self.schedule_files(site, name)
        files = f"{_schedule_logs(site)}/{name}"
        return Verbs(
            unit=f"{site.app}-{name}",
            start=(),
            stop=(),
            pid=(),
            log=("tail", "-n", "{lines}", files + ".log"),
            log_file=files + ".log",
            state=("sh", "-c", templating.render("supervisord/schedule-state.sh.j2"), "cron", cron_file, script, files),
        )

    def packages(self) -> tuple[str, ...]:
        """Debian's own."""
        return ("supervisor",)


def _program_verbs(site: Site, program: str, link: str) -> Verbs:
    control = _control(site)
    log_file = site.system(f"{_LOGS}/{program}.log")
    return Verbs(
        unit=program,
        start=(*_script("supervisord/start.sh.j2", site), program, link),
        stop=(*_script("supervisord/stop.sh.j2", site), program),
        pid=(*control, "pid", program),
        log=("tail", "-n", "{lines}", log_file),
        log_file=log_file,
    )


def _schedule_logs(site: Site) -> str:
    return site.system(f"/var/log/{site.app}-schedules")


def _minutes_anywhere(schedule: ScheduleSpec) -> str:
    """Return the minutes at which it may be time, whatever the zone of the host: quarters of an hour apart from each
    other."""
    minutes = sorted({(minute + quarter) % 60 for minute in schedule.times.minutes for quarter in (0, 15, 30, 45)})
    return "*" if len(minutes) == 60 else ",".join(map(str, minutes))


def _control(site: Site) -> Argv:
    """`supervisorctl`, and which supervisord it talks to where that is not the host's own."""
    if not site.prefix:
        return ("supervisorctl",)
    return (site.prefix + "/usr/bin/supervisorctl", "-c", site.prefix + "/etc/supervisor/supervisord.conf")


def _script(template: str, site: Site) -> Argv:
    """Return a small script as words: `sh -c TEXT NAME`, to which its arguments are added."""
    control = " ".join(templating.sh(word) for word in _control(site))
    text = templating.render(template, control=control)
    return ("sh", "-c", text, template.rpartition("/")[2].removesuffix(".j2"))
