"""`deploy hosts`: the inventory as it is read."""

from __future__ import annotations

from typing import Literal

from deployer.agent.model.endpoints import place
from deployer.events import Text
from deployer.inventory.model import Host
from deployer.plan.topology import Topology
from deployer.rollout.data import Data
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project


class HostEntry(Data):
    """One host and its part in the app."""

    host: str
    """The host's name in the inventory."""
    part: Literal["web", "balancer"]
    """Whether it has instances or processes of the app, or is a balancer. A host with both parts is in two entries."""
    ssh_host: str
    """Where SSH reaches it."""
    ssh_port: int
    """The port of its sshd."""
    ssh_user: str | None
    """Who logs in; null when SSH decides."""
    balancer: str | None
    """The kind of the balancer; null for a web host."""
    address: str | None
    """Where balancers reach its instances; null for a balancer."""
    ports: list[int]
    """The first slot of each instance."""
    root: str | None
    """The folder of the app; null for a balancer."""

    @property
    def text(self) -> str:
        """The host as one line."""
        where = f"{self.ssh_user or ''}@{place(self.ssh_host, self.ssh_port)}"
        if self.part == "balancer":
            return f"{self.host}  balancer ({self.balancer})  {where}"
        ports = ", ".join(map(str, self.ports))
        return f"{self.host}  web  {where}  {self.address} ports {ports}  root {self.root}"


class Hosts(Data):
    """What `deploy hosts` answers."""

    hosts: list[HostEntry]
    """Balancers first, then web hosts, in the order of the inventory."""


def hosts(project: Project, invocation: Invocation) -> None:
    """Shows a line per host: its part, how SSH reaches it, where its instances are."""
    invocation.record.data = answer = hosts_of(project.topology)
    for entry in answer.hosts:
        invocation.record.host(entry.host, entry.part)
        invocation.bus.emit(Text(entry.text))


def hosts_of(topology: Topology) -> Hosts:
    """The hosts of a topology."""
    entries = [_entry(member.host, balancer=topology.kind) for member in topology.balancers]
    entries += [_entry(web.host, address=web.own.address, ports=web.ports, root=web.own.root) for web in topology.web]
    return Hosts(hosts=entries)


def _entry(
    host: Host,
    balancer: str | None = None,
    address: str | None = None,
    ports: tuple[int, ...] = (),
    root: str | None = None,
) -> HostEntry:
    return HostEntry(
        host=host.name,
        part="balancer" if balancer else "web",
        ssh_host=host.ssh.hostname,
        ssh_port=host.ssh.port or 22,
        ssh_user=host.ssh.user,
        balancer=balancer,
        address=address,
        ports=list(ports),
        root=root,
    )
