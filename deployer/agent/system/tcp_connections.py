"""The connections that processes of a balancer hold, counted by where they lead: read from `/proc`."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable, Iterator

from deployer.agent.model.endpoints import place
from deployer.agent.system import procfs

_OPEN = ("01", "02")  # established, or about to be: the request follows


def held_by(pids: Iterable[int]) -> dict[str, int]:
    """`endpoints.place` → how many connections these processes hold to it. One that ended meanwhile holds none."""
    counts: dict[str, int] = {}
    for pid in pids:
        for remote in _remotes(pid):
            counts[remote] = counts.get(remote, 0) + 1
    return counts


def children(pid: int) -> list[int]:
    """The children of a process."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        processes = (procfs.process(candidate) for candidate in procfs.pids())
        return [process.pid for process in processes if process is not None and process.ppid == pid]


def _remotes(pid: int) -> Iterator[str]:
    inodes = _sockets(pid)
    for table in ("tcp", "tcp6"):
        try:
            with open("/proc/%d/net/%s" % (pid, table), encoding="ascii") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] in _OPEN and fields[9] in inodes:
                address, _, port = fields[2].rpartition(":")
                yield place(_decoded(address), int(port, 16))


def _sockets(pid: int) -> set[str]:
    inodes = set()
    folder = "/proc/%d/fd" % pid
    try:
        for name in os.listdir(folder):
            target = os.readlink(folder + "/" + name)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:  # it ended just now
        return inodes
    return inodes


def _decoded(text: str) -> str:
    """An address of `/proc/net/tcp*`: 32-bit words, each in the byte order of the machine."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    return str(getattr(address, "ipv4_mapped", None) or address)
