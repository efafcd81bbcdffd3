"""The root file system that all machines of a suite share, read-only: built once, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from deployer.cache import cache
from deployer.lab.commands import run
from deployer.lab.locking import hold_lock
from deployer.lab.machines import cgroups
from deployer.lab.machines.apt import Apt, apt_of
from deployer.lab.machines.mounts import unmount_below
from deployer.lab.model import LabSpec, Progress
from deployer.lab.place import Place

PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "python3", "python3-venv", "sudo",
    "iproute2", "procps", "ca-certificates", "supervisor", "haproxy", "nginx", "socat",
)  # fmt: skip

RECIPE = "1"
"""Counts up when the steps after debootstrap change, so that older roots are not used."""

DISABLED = ("haproxy.service", "nginx.service", "supervisor.service")
"""Installed, but it is `setup` that switches them on."""

MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "logrotate.timer", "console-getty.service", "getty@.service", "systemd-networkd.service",
    "systemd-resolved.service", "systemd-timesyncd.service",
)  # fmt: skip


def root_for(suite: str, spec: LabSpec, place: Place, progress: Progress) -> Path:
    """Return the root file system of that suite for such machines; built when the cache has none, in about a minute."""
    packages = sorted({*PACKAGES, *spec.reserve})
    roots = cache() / "roots"
    key = hashlib.sha256("\n".join([RECIPE, *packages]).encode()).hexdigest()[:12]
    root = roots / f"{suite}-{key}"
    if root.is_dir():
        return root
    with hold_lock(_lock_of(f".{root.name}")):
        if not root.is_dir():
            _build(root, suite, packages, place, progress)
    return root


def _lock_of(name: str) -> Path:
    return cache() / "roots" / f"{name}.lock"


def remove_unfinished(place: Place) -> None:
    """Remove what a build that was killed left behind. Its processes must be dead."""
    for unfinished in (cache() / "roots").glob(f".*.{place.tag}"):
        unmount_below(unfinished)
        with hold_lock(_lock_of(unfinished.name.removesuffix(f".{place.tag}"))):
            shutil.rmtree(unfinished)


def _build(root: Path, suite: str, packages: Iterable[str], place: Place, progress: Progress) -> None:
    progress(f"building the machines' root file system ({suite}; about a minute, once)")
    fresh = root.with_name(f".{root.name}.{place.tag}")
    fresh.mkdir(parents=True, mode=0o755)
    apt = apt_of(suite)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(fresh)]
    command += [apt.mirror] if apt.mirror else []
    # In the lab's cgroup: `down` ends it even if we are killed.
    enter = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroups.make(place, "root") / "cgroup.procs")]
    run([*enter, *command], timeout=1800, message="the root file system could not be built")
    cgroups.kill(place, "root")
    progress("adding users and package lists to the root file system")
    _people(fresh)
    _services(fresh)
    _package_lists(fresh, apt)
    _anonymous(fresh)
    os.sync()
    fresh.rename(root)


def _people(root: Path) -> None:
    """`deploy` may do everything by sudo, `plain` too but by password; `plain` gets his when a lab comes up."""
    for name in ("deploy", "plain"):
        _inside(root, "useradd", "--create-home", "--shell", "/bin/bash", name)
    sudoers = root / "etc/sudoers.d/lab"
    sudoers.write_text("deploy ALL=(ALL:ALL) NOPASSWD: ALL\nplain ALL=(ALL:ALL) ALL\n")
    sudoers.chmod(0o440)


def _services(root: Path) -> None:
    _inside(root, "systemctl", "disable", *DISABLED)
    _inside(root, "systemctl", "mask", *MASKED)


def _package_lists(root: Path, apt: Apt) -> None:
    """So that `apt-get install` works in a host without an update before."""
    if apt.lines:
        (root / "etc/apt/sources.list").write_text("".join(f"{line}\n" for line in apt.lines))
    if apt.proxies:
        (root / "etc/apt/apt.conf.d/90lab-proxy").write_text(apt.proxies)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    _inside(root, "apt-get", "-q", "update", timeout=600)
    _inside(root, "apt-get", "clean")


def _anonymous(root: Path) -> None:
    """Take out what must differ from host to host."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name in ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)


def _inside(root: Path, *argv: str, timeout: float = 120.0) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    run(["chroot", root, *argv], env=env, timeout=timeout)
