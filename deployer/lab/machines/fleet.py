"""All machines of a lab: up, down, and what can be done to one of them."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deployer.errors import DeployError
from deployer.lab import borrowed
from deployer.lab.commands import wait_until
from deployer.lab.inventory_file import write_inventory
from deployer.lab.keys import make_key, pin_hosts
from deployer.lab.kind import Fleet
from deployer.lab.machines import cgroups, network
from deployer.lab.machines.layer import make_password, write_common
from deployer.lab.machines.machine import Machine, remove_traces
from deployer.lab.machines.mounts import unmount_below
from deployer.lab.machines.requirements import require
from deployer.lab.machines.root import remove_unfinished, root_for
from deployer.lab.model import HostEntry, LabSpec, Progress
from deployer.lab.pip_sources import pip_sources
from deployer.lab.place import Place

KERNEL = {"net/ipv4/ip_forward": 1, "fs/inotify/max_user_instances": 8192}
"""A way out for the hosts, and room for many systemds under one user."""

BOOT_WITHIN_S = 90.0


class Machines:
    """The kind `machines`; see `deployer.lab.kind.Kind`."""

    def check(self, spec: LabSpec, progress: Progress) -> None:
        """Root, cgroup v2 and the Debian packages, which are installed when missing."""
        require(progress)
        cgroups.tree_of(Place.of(spec.name))

    def up(self, spec: LabSpec, place: Place, progress: Progress) -> Fleet:
        """Boot all hosts at once, in seconds once the root file system is in the cache."""
        suites = {spec.suite, *([spec.balancer_suite] if spec.balancer_names else [])}
        roots = {suite: root_for(suite, spec, place, progress) for suite in sorted(suites)}
        borrowed.raise_kernel_limits(place.tag, KERNEL)
        subnet = network.make_bridge(place)
        network.open_way_out(place, subnet)
        addresses = {name: str(subnet[number]) for number, name in enumerate(spec.names, start=11)}
        progress(f"booting {len(addresses)} machines in {subnet}")
        machines = self._prepared(spec, place, roots, subnet, addresses)
        for machine in machines:
            machine.boot()
        for machine in machines:
            _wait_for_ssh(machine, addresses[machine.host])
        hosts = {name: _entry(place, address) for name, address in addresses.items()}
        write_inventory(spec, place, hosts, {name: {"deploy_listen": ":80"} for name in spec.balancer_names})
        return Fleet(f"{addresses[(spec.balancer_names or spec.web_names)[0]]}:80", hosts)

    def _prepared(
        self, spec: LabSpec, place: Place, roots: dict[str, Path], subnet: network.Subnet, addresses: dict[str, str]
    ) -> list[Machine]:
        pip = pip_sources()
        key = make_key(place.key, f"lab {place.name}")
        password = make_password(place)
        layers = {suite: [place.folder / "common" / suite, root] for suite, root in roots.items()}
        for common, root in layers.values():
            write_common(common, root, spec, key, pip, password)
        keys = {name: place.host(name) / "host_key" for name in addresses}
        pin_hosts(place, {addresses[name]: make_key(path, name) for name, path in keys.items()})
        machines = [Machine(place, name) for name in addresses]
        for machine in machines:
            suite = spec.balancer_suite if machine.host in spec.balancer_names else spec.suite
            machine.prepare(layers[suite], keys[machine.host], addresses[machine.host], subnet, pip.folders)
        return machines

    def down(self, place: Place) -> None:
        """Kill by cgroup, unmount by folder, and unlink by tag."""
        network.unplug(place)
        cgroups.kill(place)
        remove_traces(place)
        remove_unfinished(place)
        unmount_below(place.folder)
        network.remove(place)
        borrowed.give_back(place.tag)

    def alive(self, place: Place) -> bool:
        """Return whether its bridge is there."""
        return network.exists(place)

    def running(self, place: Place, host: str) -> bool:
        """Return whether anything runs in the host's cgroup."""
        return Machine(place, host).running

    def power_off(self, place: Place, host: str) -> None:
        """Kill every process of the machine at once; its disk stays as it is."""
        Machine(place, host).kill()

    def power_on(self, place: Place, host: str) -> None:
        """Boot it again, and wait for its sshd."""
        machine = Machine(place, host)
        if not machine.running:
            machine.boot()
        _wait_for_ssh(machine, _address(machine))

    def cut(self, place: Place, host: str) -> None:
        """Drop all packets between this machine and port 22 of the host; HTTP to it goes on."""
        network.cut(place, host, _address(Machine(place, host)))

    def mend(self, place: Place, host: str) -> None:
        """Let them through again."""
        network.mend(place, host)

    def exec(self, place: Place, host: str, argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine's namespaces, as root, whatever its network does."""
        return Machine(place, host).exec(argv, timeout)


def _entry(place: Place, address: str) -> HostEntry:
    return HostEntry(
        host=address, port=network.SSH_PORT, user="root", key=str(place.key), known_hosts=str(place.known_hosts)
    )


def _address(machine: Machine) -> str:
    words = (machine.folder / "upper/etc/hosts").read_text().split()
    return words[words.index(machine.host) - 1]


def _wait_for_ssh(machine: Machine, address: str) -> None:
    """Return when the machine's sshd sends its banner; DeployError with the console's end when it does not."""
    settled = wait_until(lambda: _answers(address) or not machine.running, within=BOOT_WITHIN_S, every=0.05)
    if not settled or not machine.running:
        cause = "it ended" if settled else f"no answer from sshd within {BOOT_WITHIN_S:g} s"
        raise DeployError(f"{machine.host} did not boot", step="lab", cause=cause, log=machine.last_words())


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, network.SSH_PORT), timeout=1.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
