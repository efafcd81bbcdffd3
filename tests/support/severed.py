"""A controller's links to its agents, one by one: an agent killed at the other end, or all packets dropped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer.lab import Lab
from deployer.lab.place import Place

SSH = "22"


def agent(controller: int, lab: Lab, host: str) -> int | None:
    """The pid, here, of the agent that a controller (its pid) has on a host; None when it has none (any more)."""
    address = str(lab.hosts[host]["host"])
    for port in _ports(controller, address):
        mark = f" {port} {address} {SSH}".encode()
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and mark in _connection(process) and b"DEPLOY-AGENT" in _read(process, "cmdline"):
                return int(process.name)
    return None


def kill(pid: int) -> None:
    """SIGKILL to one process."""
    os.kill(pid, signal.SIGKILL)


@contextmanager
def silence(controller: int, lab: Lab) -> Iterator[None]:
    """Inside the block every packet between a controller (its pid) and its agents is dropped, both ways."""
    ports = [port for entry in lab.hosts.values() for port in _ports(controller, str(entry["host"]))]
    mark = f"deploy-lab-{Place(lab.name, Path(lab.folder)).tag}:silence-{controller}"
    ours, end = ",".join(map(str, ports)), f"-j DROP -m comment --comment {mark}"
    rules = [
        f"OUTPUT -p tcp --dport {SSH} -m multiport --sports {ours} {end}",
        f"INPUT -p tcp --sport {SSH} -m multiport --dports {ours} {end}",
    ]
    _change("-I", rules)
    try:
        yield
    finally:
        _change("-D", rules)


def _change(verb: str, rules: list[str]) -> None:
    """All rules at once: no packet sees half of them."""
    text = "\n".join(["*filter", *(f"{verb} {rule}" for rule in rules), "COMMIT", ""])
    subprocess.run(["iptables-restore", "--noflush", "--wait"], input=text, text=True, check=True)


def _ports(controller: int, address: str) -> list[int]:
    """The local ports of a process's connections to a host's sshd."""
    mine = {_target(file) for file in Path(f"/proc/{controller}/fd").iterdir()}
    octets = "".join(f"{int(octet):02X}" for octet in reversed(address.split(".")))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    place = f"{octets}:{int(SSH):04X}"
    return [int(row[1].split(":")[1], 16) for row in rows if row[2] == place and f"socket:[{row[9]}]" in mine]


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""


def _connection(process: Path) -> bytes:
    return next((word for word in _read(process, "environ").split(b"\0") if word.startswith(b"SSH_CONNECTION=")), b"")


def _read(process: Path, name: str) -> bytes:
    try:
        return (process / name).read_bytes()
    except OSError:
        return b""
