"""Facts of the machine itself, each read from where the kernel or the system keeps it, without starting a program."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site
from deployer.agent.system import cgroups, procfs

if TYPE_CHECKING:
    from deployer.agent.model.messages.host import Machine, OsRelease

_ANY_PORT = 9  # discard: nothing is sent there


def facts(site: Site) -> Machine:
    """What the host is: names, system, sizes (bytes) and who limits them, `uptime` (seconds of the boot-time clock)."""
    memory = _memory()
    return {
        "hostname": socket.gethostname(),
        "os": os_release(site),
        "arch": os.uname().machine,
        "libc": libc(),
        "uid": os.geteuid(),
        "python": {"version": ".".join(map(str, sys.version_info[:3])), "path": sys.executable},
        "init": "systemd" if os.path.isdir(site.system("/run/systemd/system")) else "other",
        "cores": len(os.sched_getaffinity(0)),
        "memory": memory.get("MemTotal", 0),
        "mem_available": memory.get("MemAvailable", 0),
        "limits": cgroups.limits(site),
        "boot_id": _first_line("/proc/sys/kernel/random/boot_id"),
        "uptime": round(procfs.now(), 2),
    }


def tools(site: Site, names: Iterable[str]) -> dict[str, str | None]:
    """name → path of each program, None for those that are not there."""
    folders = search_path(site)
    return {name: found_in(folders, name) for name in names}


def pythons(site: Site, versions: Iterable[str]) -> dict[str, str | None]:
    """`3.12` → path of a `python3.12`: of the system's, or one that uv has installed for this user."""
    folders = search_path(site)
    paths: dict[str, str | None] = {}
    for version in versions:
        minor = ".".join(str(version).split(".")[:2])
        kept = os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.expanduser("~/.local/share/uv/python")
        managed = sorted(glob.glob(glob.escape(kept) + "/cpython-" + glob.escape(minor) + ".*/bin"))
        paths[version] = found_in(folders + managed[::-1], "python" + minor)
    return paths


def search_path(site: Site) -> list[str]:
    """Where programs are looked for: the host's own folders (its prefix first), PATH, the user's own."""
    own = [site.system(path) for path in ("/usr/local/bin", "/usr/bin", "/usr/sbin", "/usr/local/sbin")]
    inherited = [path for path in os.environ.get("PATH", "").split(":") if path.startswith("/")]
    usual = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]
    folders = dict.fromkeys(own + inherited + usual + [os.path.expanduser("~/.local/bin")])
    return [path for path in folders if not path.endswith("/shims")]  # a shim may refuse to run


def found_in(folders: Iterable[str], name: str) -> str | None:
    """The first executable file of that name; None if there is none, or the name is no plain name."""
    if not name or "/" in name:
        return None
    for folder in folders:
        path = folder + "/" + name
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def user_exists(name: str) -> bool:
    """Whether the host knows that user; an empty name is the agent's own user."""
    try:
        return not name or bool(pwd.getpwnam(name))
    except KeyError:
        return False


def free_bytes(path: str) -> int:
    """Bytes that may still be written on the file system of `path`, or of its nearest parent that exists."""
    while path not in ("", "/") and not os.path.isdir(path):
        path = os.path.dirname(path)
    try:
        filesystem = os.statvfs(path or "/")
    except OSError:
        return 0
    return filesystem.f_bavail * filesystem.f_frsize


def os_release(site: Site) -> OsRelease:
    """`{id, version}` of os-release(5); empty texts where it says nothing."""
    values: dict[str, str] = {}
    for path in (site.system("/etc/os-release"), "/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                values = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
            break
        except OSError:
            continue
    return {"id": values.get("ID", "").strip("\"'"), "version": values.get("VERSION_ID", "").strip("\"'")}


def libc() -> str:
    """`glibc 2.36`, or `musl`."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "musl"
    except (ValueError, OSError):
        return "musl"


def _memory() -> dict[str, int]:
    amounts: dict[str, int] = {}
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                name, _, amount = line.partition(":")
                if name in ("MemTotal", "MemAvailable"):
                    amounts[name] = int(amount.split()[0]) * 1024
    except OSError:
        pass
    return amounts


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except OSError:
        return ""


def sources(peers: Iterable[str]) -> dict[str, str]:
    """peer → the address of this host that the peer sees, as the kernel would choose it now; nothing is sent.

    A peer that no route leads to, or whose name nobody knows, is left out.
    """
    addresses = {}
    for peer in peers:
        with contextlib.suppress(OSError):
            family, kind, _, _, address = socket.getaddrinfo(peer, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as probe:
                probe.connect(address)
                addresses[peer] = str(probe.getsockname()[0])
    return addresses
