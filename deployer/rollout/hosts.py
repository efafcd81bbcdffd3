"""`deploy hosts`: the inventory as it is read."""

from __future__ import annotations

from deployer.events import Bus, Output
from deployer.rollout.project import Project
from deployer.rollout.record import Record


def hosts(project: Project, bus: Bus, record: Record) -> None:
    """A line a host: its parts, how SSH reaches it, where its instances are."""
    topology = project.topology
    for balancer in topology.balancers:
        ssh = balancer.host.ssh
        bus.emit(
            Output(f"{balancer.name}  balancer ({topology.kind})  {ssh.user or ''}@{ssh.hostname}:{ssh.port or 22}")
        )
        record.host(balancer.name, "balancer")
    for web in topology.web:
        ssh = web.host.ssh
        ports = ", ".join(str(port) for port in web.ports)
        where = f"{ssh.user or ''}@{ssh.hostname}:{ssh.port or 22}"
        bus.emit(Output(f"{web.name}  web  {where}  {web.own.address} ports {ports}  root {web.own.root}"))
        record.host(web.name, "web")
