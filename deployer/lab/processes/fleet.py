"""All hosts of a lab of processes: up, down, and what can be done to one of them."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deployer.lab import borrowed
from deployer.lab.inventory_file import write_inventory
from deployer.lab.keys import make_key, pin_hosts
from deployer.lab.kind import Fleet
from deployer.lab.model import HostEntry, LabSpec, Progress
from deployer.lab.pip_sources import pip_sources
from deployer.lab.place import Place
from deployer.lab.processes.addresses import BALANCER_PORT, BALANCER_TLS_PORT, SSH_PORT, free_range
from deployer.lab.processes.belongings import Belongings
from deployer.lab.processes.host import ProcessHost
from deployer.lab.processes.requirements import require


class Processes:
    """The kind `processes`; see `deployer.lab.kind.Kind`."""

    def check(self, spec: LabSpec, progress: Progress) -> None:
        """Programs and path lengths; nothing is installed."""
        require(spec, Place.of(spec.name))

    def up(self, spec: LabSpec, place: Place, progress: Progress) -> Fleet:
        """Start one sshd and one supervisord per host."""
        addresses = dict(zip(spec.names, free_range(place, len(spec.names)), strict=True))
        if os.geteuid() == 0:  # sshd insists on it when it is root
            borrowed.make_folder(place.tag, Path("/run/sshd"))
        progress(f"starting {len(addresses)} hosts at {', '.join(addresses.values())}")
        make_key(place.key, f"lab {place.name}")
        keys = {name: make_key(place.host(name) / "host_key", name) for name in addresses}
        pin_hosts(place, {f"[{addresses[name]}]:{SSH_PORT}": line for name, line in keys.items()})
        hosts = [ProcessHost(place, name) for name in addresses]
        pip = pip_sources()
        for host in hosts:
            host.prepare(addresses[host.name], pip, balancer=spec.balancer if host.name in spec.balancer_names else "")
            host.start()
        for host in hosts:
            host.wait()
        entries = {name: _entry(place, address) for name, address in addresses.items()}
        write_inventory(spec, place, entries, {host.name: _variables(host, spec) for host in hosts})
        serving = addresses[(spec.balancer_names or spec.web_names)[0]]
        return Fleet(f"{serving}:{BALANCER_PORT}", entries)

    def down(self, place: Place) -> None:
        """Kill whatever carries the hosts' marks."""
        _all_of(place).kill()
        if os.geteuid() == 0:
            borrowed.give_back(place.tag)

    def alive(self, place: Place) -> bool:
        """Return whether any host has an sshd."""
        return bool(_all_of(place).ssh())

    def running(self, place: Place, host: str) -> bool:
        """Return whether the host has an sshd."""
        return ProcessHost(place, host).running

    def power_off(self, place: Place, host: str) -> None:
        """Kill every process of the host; its folder stays."""
        ProcessHost(place, host).belongings.kill()

    def power_on(self, place: Place, host: str) -> None:
        """Start its sshd and supervisord again, which starts what is to start by itself."""
        process_host = ProcessHost(place, host)
        process_host.start()
        process_host.wait()

    def cut(self, place: Place, host: str) -> None:
        """Stop (SIGSTOP) its sshd and the sessions; what they started goes on, and so does HTTP.

        Unlike with machines this machine's kernel still takes what is sent, up to a socket's buffer.
        """
        ProcessHost(place, host).cut()

    def mend(self, place: Place, host: str) -> None:
        """Let them go on (SIGCONT)."""
        ProcessHost(place, host).mend()

    def exec(self, place: Place, host: str, argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command with the host's PATH, in its folder, as the current user."""
        return ProcessHost(place, host).exec(argv, timeout)


def _all_of(place: Place) -> Belongings:
    return Belongings(f"{place.tag}/", place.hosts)


def _entry(place: Place, address: str) -> HostEntry:
    return HostEntry(
        host=address,
        port=SSH_PORT,
        user=pwd.getpwuid(os.getuid()).pw_name,
        key=str(place.key),
        known_hosts=str(place.known_hosts),
    )


def _variables(host: ProcessHost, spec: LabSpec) -> dict[str, Any]:
    variables: dict[str, Any] = {"deploy_prefix": str(host.prefix)}
    if host.name in spec.balancer_names:
        variables["deploy_listen"] = f"{host.address}:{BALANCER_PORT}"
        variables["deploy_listen_tls"] = f"{host.address}:{BALANCER_TLS_PORT}"
    return variables
