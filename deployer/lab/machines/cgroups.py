"""The lab's own corner of the cgroup v2 tree: one folder per host. Hosts that share one break each other's systemctl.

It is also how everything that a lab runs is found again, whatever became of the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from deployer.errors import DeployError, NotReadyError
from deployer.lab.commands import wait_until
from deployer.lab.place import Place

_CONTROLLERS = ("cpu", "memory", "pids", "io")


def tree_of(place: Place) -> Path:
    """Return the lab's folder in the cgroup v2 hierarchy; NotReadyError when this machine has mounted none."""
    for kind, mount in _hierarchies():
        if kind == "cgroup2":
            return mount / _name(place)
    raise NotReadyError(
        "a lab of machines needs cgroup v2", hint="mount -t cgroup2 none /sys/fs/cgroup   (or boot with cgroup v2)"
    )


def make(place: Place, *names: str) -> Path:
    """Make and return a folder below the lab's."""
    folder = tree_of(place).joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_for_host(place: Place, host: str) -> None:
    """Make the folders of one host, `machine` for itself and `boot` for what boots it.

    Where this machine can give them away, the host gets limits of memory and CPU of its own to use.
    """
    for name in ("machine", "boot"):
        make(place, host, name)
    tree = tree_of(place)
    for level in (tree.parent, tree, tree / host):
        available = (level / "cgroup.controllers").read_text().split()
        for controller in (name for name in _CONTROLLERS if name in available):
            try:
                (level / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError:
                continue  # processes sit in that group itself: the hosts go without this limit


def processes(folder: Path) -> list[int]:
    """Return the pids of all processes at or below a cgroup folder."""
    pids: list[int] = []
    for group, _, _ in os.walk(folder):  # groups come and go meanwhile, which a glob does not forgive
        try:
            pids += [int(word) for word in Path(group, "cgroup.procs").read_text().split()]
        except OSError:
            continue
    return sorted({pid for pid in pids if pid})


def kill(place: Place, host: str = "") -> None:
    """Kill all processes of one host, or of the lab, and remove their cgroups. Harmless to repeat.

    On machines that mount version 1 beside version 2, systemd-nspawn makes folders of the same name there too.

    Raises:
        DeployError: some processes survive for 20 s.
    """
    folder = tree_of(place) / host
    if not wait_until(lambda: _killed(folder), within=20):
        raise DeployError("some processes of the lab do not die", step="lab", cause=f"pids {processes(folder)}")
    tops = [mount / _name(place) / host for _, mount in _hierarchies()]
    wait_until(lambda: all(_removed(top) for top in tops), within=5)


def _hierarchies() -> Iterator[tuple[str, Path]]:
    """Yield every mounted cgroup hierarchy: its type (`cgroup` or `cgroup2`) and where it is."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        if source.split()[0] in ("cgroup", "cgroup2"):
            yield source.split()[0], Path(fields.split()[4])


def _name(place: Place) -> str:
    return f"deploy-lab-{place.tag}"


def _killed(folder: Path) -> bool:
    alive = processes(folder)
    for pid in alive:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return not alive


def _removed(top: Path) -> bool:
    """Remove the cgroup and all below it, deepest first; False when one is still busy."""
    for path, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
    return not top.exists()
