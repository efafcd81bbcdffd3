"""`deploy lab up|down|status`: labs as commands, with events on the bus."""

from __future__ import annotations

import os
from typing import Any

from deployer.errors import UsageError
from deployer.events import Output
from deployer.lab.lab import Lab
from deployer.lab.lifecycle import down as take_down
from deployer.lab.lifecycle import names
from deployer.lab.lifecycle import status as look
from deployer.lab.lifecycle import up as bring_up
from deployer.lab.model import DEFAULT_SUITE, LabSpec, Progress
from deployer.lab.processes.requirements import has_program
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.record import Record


def default_kind() -> str:
    """Real systemd hosts where we are root, processes of our own elsewhere."""
    return "machines" if os.geteuid() == 0 else "processes"


def default_balancer(kind: str, progress: Progress) -> str:
    """HAProxy; in a lab of processes, where nothing is installed, Caddy when there is no HAProxy on this machine."""
    if kind == "processes" and not has_program("haproxy"):
        progress("haproxy is not installed on this machine: Caddy is the balancer (--balancer caddy)")
        return "caddy"
    return "haproxy"


def up(invocation: Invocation, *, name: str, kind: str, hosts: int, supervisor: str, balancer: str, suite: str) -> Lab:
    """Bring the lab up, and show how to use it; empty values have their defaults. Raises what `lifecycle.up` raises."""

    def progress(line: str) -> None:
        invocation.bus.emit(Output(line, step="lab"))

    kind = kind or default_kind()
    spec = LabSpec(
        name=name,
        kind=kind,  # type: ignore[arg-type]  # LabSpec refuses other words itself
        hosts=hosts,
        supervisor=supervisor or None,  # type: ignore[arg-type]
        balancer=balancer or default_balancer(kind, progress),  # type: ignore[arg-type]
        suite=suite or DEFAULT_SUITE,
    )
    lab = bring_up(spec, progress)
    for host in lab.hosts:
        invocation.record.host(host, "up")
    invocation.bus.emit(
        Output(f"`deploy setup {name}` and `deploy push {name}` work from the folder of any app", step="lab")
    )
    return lab


def down(invocation: Invocation, *, name: str) -> None:
    """Take the lab down; unchanged when there is none."""
    if name not in names():
        invocation.record.outcome = "unchanged"
    take_down(name, lambda line: invocation.bus.emit(Output(line, step="lab")))


def status(record: Record, *, name: str) -> str:
    """Return the lab as a person reads it: one ssh command per host.

    The closing event gets the lab's fields, and each of its hosts how SSH reaches it. Raises UsageError when the lab
    is not up.
    """
    lab = look(name)
    if lab is None:
        up_now = ", ".join(names())
        raise UsageError(
            f"unknown lab {name}",
            hint=f"deploy lab up --name {name}" + (f"; up are: {up_now}" if up_now else ""),
        )
    fields = lab.as_dict()
    ssh: dict[str, dict[str, Any]] = fields.pop("hosts")
    lines = [f"lab {lab.name} ({lab.kind}), served at http://{lab.address}/"]
    for host, access in ssh.items():
        record.host(host, "up" if lab.running(host) else "off")
        record.hosts[host] |= access
        lines.append(
            f"  {host:<8} ssh -i {access['key']} -o UserKnownHostsFile={access['known_hosts']} "
            f"-p {access['port']} {access['user']}@{access['host']}"
        )
    record.extra = fields
    return "\n".join(lines)
