"""Who holds a port, and whether that is one of ours: the supervisor's descendant, or a process of a release."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from deployer.agent.model.endpoints import socket_of
from deployer.agent.model.layout import Site
from deployer.agent.system import procfs

SYSTEMD = 1  # the process that holds the sockets of socket units
FOREIGN = "systemd, for a socket unit that deploy did not make"
DELETED = " (deleted)"  # what /proc adds to the path of something that is gone


@dataclass(frozen=True)
class PortOwner:
    """Who has address:port. `unseen` are the users whose processes hold it but may not be looked into.

    `waiting`: systemd has a socket open there, for a socket unit, that no process has taken over. One that a process
    has taken over is that process's, since only systemd itself can have given it away.
    """

    pids: tuple[int, ...] = ()
    unseen: tuple[str, ...] = ()
    waiting: bool = False

    @property
    def free(self) -> bool:
        """Nobody listens there."""
        return not self.pids and not self.unseen and not self.waiting


def find_port_owner(address: str, port: int) -> PortOwner:
    """Everybody who has a socket listening on address:port, wildcards and IPv4-mapped ones included."""
    sockets = [listener for _, listener in listening(address, [port])]
    held = procfs.holders(listener.inode for listener in sockets)
    pids: set[int] = set().union(*held.values()) - {SYSTEMD}
    # A process that ended between the two looks leaves an inode without a holder: only one still listed counts.
    unowned = [listener for listener in sockets if not held[listener.inode]]
    still = {listener.inode for _, listener in listening(address, [port])} if unowned else set()
    return PortOwner(
        tuple(sorted(pids)),
        tuple(sorted({procfs.user_name(listener.uid) for listener in unowned if listener.inode in still})),
        any(who == {SYSTEMD} for who in held.values()),
    )


def listening(address: str, ports: Sequence[int]) -> list[tuple[int, procfs.Listener]]:
    """The sockets that take what is sent to the address at these ports, or to the folder's sockets, by port."""
    at = {socket_of(address, port): port for port in ports}
    if "" not in at:
        return [(at[listener.address], listener) for listener in procfs.unix_listeners(at)]
    return [(listener.port, listener) for listener in procfs.listeners(ports) if procfs.covers(listener, address)]


def belongs(pid: int, main: int, unit: str) -> bool:
    """Whether a process is the unit's main process, descends from it, or lies in the unit's own cgroup."""
    return bool(main) and (main in procfs.ancestors(pid) or procfs.in_unit(pid, unit))


def release_of(site: Site, pid: int) -> str | None:
    """The release whose folder a process runs in, even if that folder is gone; None outside of the site's releases."""
    cwd = procfs.link(pid, "cwd")
    releases = os.path.realpath(site.releases) + "/"
    if cwd is None or not cwd.startswith(releases):
        return None
    return cwd[len(releases) :].split("/")[0].replace(DELETED, "") or None


def describe_process(pid: int) -> str:
    """`process 812 (python -m http.server, user bob)`."""
    return "process %d (%s, user %s)" % (pid, procfs.command(pid) or "?", procfs.user_of(pid) or "?")
