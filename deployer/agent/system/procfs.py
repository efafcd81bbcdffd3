"""What `/proc` says about processes and listening sockets. See proc(5).

Times are seconds of the boot-time clock (`now`), the clock of `starttime` in `/proc/<pid>/stat`. A process that ends
while it is looked at is simply not there.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LISTEN = "0A"
_ESTABLISHED = "01"
_ACCEPTS = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix: it listens
_CONNECTED = ("02", "03")  # SS_CONNECTING (nobody has accepted it yet), SS_CONNECTED
_TICKS = os.sysconf("SC_CLK_TCK")
TICK = 1.0 / _TICKS  # seconds: how exact a start is known
Address = tuple[str, int]


@dataclass(frozen=True)
class Process:
    """One line of `/proc/<pid>/stat`. `ticks` is the start in clock ticks since boot; with `pid` it is unique."""

    pid: int
    ppid: int
    state: str
    ticks: int

    @property
    def started(self) -> float:
        """Seconds of the boot-time clock, cut down to a whole tick (10 ms)."""
        return self.ticks / _TICKS

    @property
    def dead(self) -> bool:
        """A zombie: it has ended and only waits to be reaped."""
        return self.state in "ZX"


@dataclass(frozen=True)
class Listener:
    """A listening socket. `address` is as the kernel has it, v4-mapped ones as IPv4; `uid` owns it.

    That of a UNIX socket is its path, its port is 0, and `uid` is of whoever owns the file.
    """

    address: str
    port: int
    inode: int
    uid: int


def now() -> float:
    """Seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def process(pid: int) -> Process | None:
    """What `/proc/<pid>/stat` says, or None when there is no such process.

    The name in parentheses may hold spaces and parentheses of its own; the fields begin behind the last one.
    """
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20:
        return None
    return Process(pid, int(fields[1]), fields[0].decode("ascii"), int(fields[19]))


def alive(known: Process) -> bool:
    """Whether that very process still runs: the same start, not only the same id, and no zombie."""
    current = process(known.pid)
    return current is not None and current.ticks == known.ticks and not current.dead


def ancestors(pid: int) -> Iterator[int]:
    """`pid` itself, its parent, and so on up to 1."""
    seen: set[int] = set()
    while pid > 0 and pid not in seen:
        seen.add(pid)
        yield pid
        entry = process(pid)
        pid = entry.ppid if entry else 0


def descendants(pid: int) -> list[Process]:
    """The living processes that `pid` started, and those that these started; none where there is no `/proc`."""
    try:
        known = {entry.pid: entry for entry in map(process, pids()) if entry is not None and not entry.dead}
    except FileNotFoundError:
        return []
    return [known[below] for below in pids_below(pid, ((entry.pid, entry.ppid) for entry in known.values()))]


def pids_below(pid: int, pairs: Iterable[tuple[int, int]]) -> set[int]:
    """The ids of the descendants of `pid`; `pairs` are the ids of processes and of their parents."""
    children: dict[int, list[int]] = {}
    for child, parent in pairs:
        children.setdefault(parent, []).append(child)
    below: set[int] = set()
    waiting = [pid]
    while waiting:
        fresh = [child for child in children.get(waiting.pop(), ()) if child not in below]
        below.update(fresh)
        waiting += fresh
    return below


def catches(pid: int, signum: int) -> bool:
    """Whether the process has a handler of its own for that signal; False too when it is gone."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            mask = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(mask >> (signum - 1) & 1)


def in_unit(pid: int, unit: str) -> bool:
    """Whether the process lies in the cgroup of that systemd unit (`shop@8000.service`)."""
    if not unit.endswith(".service"):
        return False
    try:
        with open("/proc/%d/cgroup" % pid, encoding="utf-8", errors="replace") as file:
            return any(unit in line.rstrip("\n").split(":", 2)[-1].split("/") for line in file)
    except OSError:
        return False


def unit_of(pid: int) -> str:
    """The systemd service in whose cgroup a process lies (`shop.service`); empty for one in none."""
    try:
        with open("/proc/%d/cgroup" % pid, encoding="utf-8", errors="replace") as file:
            parts = [part for line in file for part in line.rstrip("\n").split(":", 2)[-1].split("/")]
    except OSError:
        return ""
    return next((part for part in reversed(parts) if part.endswith(".service")), "")


def link(pid: int, name: str) -> str | None:
    """Where `/proc/<pid>/cwd` or `exe` points; None when it is gone or may not be read."""
    try:
        return os.readlink("/proc/%d/%s" % (pid, name))
    except OSError:
        return None


def environment(pid: int) -> dict[str, str]:
    """The environment that it was started with, unless it wrote over it; empty when it is gone or may not be read."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            words = file.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def command(pid: int) -> str:
    """The command line as it is now (a process may overwrite it), at most 200 characters; empty when it is gone."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(argv(pid)))[:200]


def argv(pid: int) -> list[str]:
    """The words of the command line as they are now, of its first 4,096 bytes; none when it is gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read(4096).rstrip(b"\0").decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def memory(process_ids: Iterable[int]) -> int:
    """Bytes that these processes have in memory, each page that several share counted once: `Pss` of proc(5).

    Where that may not be read, their resident sets, in which shared pages count for each. One that is gone has none.
    """
    return sum(_pss(pid) for pid in process_ids)


def _pss(pid: int) -> int:
    try:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
    except (OSError, StopIteration):
        pass
    try:
        with open("/proc/%d/statm" % pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def user_of(pid: int) -> str:
    """The name (or number) of the user a process runs as; empty when it is gone."""
    try:
        return user_name(os.stat("/proc/%d" % pid).st_uid)
    except OSError:
        return ""


def user_name(uid: int) -> str:
    """The name of that user, or the number as text."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def listeners(ports: Iterable[int]) -> list[Listener]:
    """All TCP sockets that listen on any of the ports, IPv4 and IPv6."""
    port_set = set(ports)
    return [listener for listener in every_listener() if listener.port in port_set]


def every_listener() -> list[Listener]:
    """All TCP sockets that listen here, IPv4 and IPv6."""
    return _sockets(_LISTEN)


def connections_to(ports: Iterable[int]) -> int:
    """How many connections to these ports of this host are established."""
    port_set = set(ports)
    return sum(connection.port in port_set for connection in _sockets(_ESTABLISHED))


def unix_listeners(paths: Iterable[str]) -> list[Listener]:
    """The UNIX sockets that listen at these paths: more at one where an orphan still has one that was replaced."""
    return [Listener(path, 0, inode, _owner(path)) for path, inode, flags, _ in _unix(paths) if flags & _ACCEPTS]


def unix_connections_to(path: str) -> int:
    """How many connections to the UNIX sockets at a path there are, those that wait to be accepted included."""
    return sum(state in _CONNECTED and not flags & _ACCEPTS for _, _, flags, state in _unix([path]))


def covers(listener: Listener, address: str) -> bool:
    """Whether a connection to `address` (a name or an IP; a wildcard means every address) may reach the listener."""
    if listener.address in ("0.0.0.0", "::"):
        return True
    return any(candidate in ("0.0.0.0", "::", listener.address) for candidate in resolved(address))


def resolved(address: str) -> list[str]:
    """The IP addresses of an address or a local name."""
    try:
        return [_plain(ipaddress.ip_address(address.strip("[]")))]
    except ValueError:
        pass
    try:
        entries = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({_plain(ipaddress.ip_address(str(entry[4][0]).partition("%")[0])) for entry in entries})


def pids() -> list[int]:
    """All process ids that are visible."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def holders(inodes: Iterable[int]) -> dict[int, set[int]]:
    """inode → the ids of the processes that have that socket open, as far as their descriptors may be read."""
    names = {"socket:[%d]" % inode: inode for inode in inodes}
    pids_by_inode: dict[int, set[int]] = {inode: set() for inode in names.values()}
    if not names:
        return pids_by_inode
    for pid in pids():
        for target in _descriptors(pid):
            if target in names:
                pids_by_inode[names[target]].add(pid)
    return pids_by_inode


def _descriptors(pid: int) -> Iterator[str]:
    folder = "/proc/%d/fd" % pid
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(folder + "/" + name)
        except OSError:
            continue


def _sockets(state: str) -> list[Listener]:
    return [entry for table in ("tcp", "tcp6") for entry in _table("/proc/net/" + table, state)]


def _table(path: str, state: str) -> Iterator[Listener]:
    try:
        with open(path, encoding="ascii") as file:
            lines = file.readlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        address, _, port = fields[1].rpartition(":")
        if fields[3] == state:
            yield Listener(_decoded(address), int(port, 16), int(fields[9]), int(fields[7]))


def _unix(paths: Iterable[str]) -> Iterator[tuple[str, int, int, str]]:
    """`(path, inode, flags, state)` of every socket bound to one of them, and of those accepted there: proc(5)."""
    path_set = set(paths)
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.rstrip("\n").split(None, 7)
        if len(fields) == 8 and fields[7] in path_set:
            yield fields[7], int(fields[6]), int(fields[3], 16), fields[5]


def _owner(path: str) -> int:
    try:
        return os.stat(path).st_uid
    except OSError:
        return 0


def _decoded(text: str) -> str:
    """An address of `/proc/net/tcp*`: 32-bit words, each in the byte order of the machine."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return _plain(ipaddress.ip_address(raw))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
