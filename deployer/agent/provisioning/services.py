"""A package's own service: enabled at boot and running, by systemd, or by a lab's supervisord below a prefix."""

from __future__ import annotations

from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Service
from deployer.agent.operation import OpError
from deployer.agent.system import process_runner


def wanting(site: Site, service: Service) -> list[list[str]]:
    """The commands that are still needed to make the service so; none when it is."""
    if site.prefix:
        control = [site.prefix + "/usr/bin/supervisorctl", "-c", site.prefix + "/etc/supervisor/supervisord.conf"]
        running = _says([*control, "status", service.name]).split()[1:2] == ["RUNNING"]
        return [] if running or not service.running else [[*control, "start", service.name]]
    commands = []
    if service.enabled and _says(["systemctl", "is-enabled", service.name]) not in ("enabled", "static", "alias"):
        commands.append(["systemctl", "enable", service.name])
    if service.running and _says(["systemctl", "is-active", service.name]) != "active":
        commands.append(["systemctl", "start", service.name])
    return commands


def action(site: Site, service: Service) -> str:
    """How a plan names what the service needs: `start`, `enable` if it runs already, or empty."""
    verbs = [command[-2] for command in wanting(site, service)]
    return verbs[-1] if verbs else ""


def ensure(site: Site, service: Service) -> None:
    """Enables and starts it; OpError `failed` with the command's last lines when that fails."""
    for command in wanting(site, service):
        done = process_runner.run(command, timeout=120)
        if not done.ok:
            raise OpError("failed", f"{' '.join(command)}: {done.why}", log=done.log())


def _says(command: list[str]) -> str:
    return process_runner.run(command, timeout=60).stdout.strip()
