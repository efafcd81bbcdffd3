"""systemd: one template unit an app, `shop@.service`, whose instance name is the port of a slot."""

from __future__ import annotations

from deployer import templating
from deployer.agent.layout import Site
from deployer.agent.resources import File, Resource
from deployer.agent.supervision import Argv, Verbs
from deployer.supervisors.base import UnitSpec
from deployer.supervisors.unit_options import merged, own_options

RELOAD = "systemd-reload"


class Systemd:
    """The unit is constant: a release changes neither its text nor anything that systemd has loaded."""

    name = "systemd"

    def resources(self, spec: UnitSpec) -> list[Resource]:
        """`/etc/systemd/system/<app>@.service`. People's own drop-ins beside it are left alone."""
        site = spec.site
        sections = merged(own_options(spec), spec.options)
        text = templating.render("systemd/app@.service.j2", search=spec.search, site=site, service=sections)
        path = site.system(f"/etc/systemd/system/{site.app}@.service")
        return [File(path=path, content=text, notify=(RELOAD,))]

    def handlers(self, site: Site) -> dict[str, tuple[Argv, ...]]:
        """`daemon-reload`, which restarts nothing."""
        return {RELOAD: (("systemctl", "daemon-reload"),)}

    def verbs(self, site: Site, port: int) -> Verbs:
        """The words for `<app>@<port>.service`."""
        unit = f"{site.app}@{port}.service"
        return Verbs(
            unit=unit,
            start=("systemctl", "start", unit),
            stop=("systemctl", "stop", unit),
            pid=("systemctl", "show", "--property", "MainPID", "--value", unit),
            log=("journalctl", "--unit", unit, "--lines", "{lines}", "--output", "cat", "--no-pager", "--quiet"),
            reset=("systemctl", "reset-failed", unit),
            # Done on the disk, not by the manager: that would reload all of systemd, which costs more than a restart,
            # or, with --no-reload, call every unit of the host outdated from then on (systemd 257).
            enable=("systemctl", "enable", "--root=/", "--quiet", unit),
            disable=("systemctl", "disable", "--root=/", "--quiet", unit),
        )

    def packages(self) -> tuple[str, ...]:
        """None: it is the host's own."""
        return ()
