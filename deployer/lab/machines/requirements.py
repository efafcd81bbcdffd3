"""What this machine must have before hosts can boot on it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from deployer.errors import NotReadyError
from deployer.lab.commands import attempt, search_path
from deployer.lab.model import Progress

PACKAGE_OF = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "mount": "mount",
    "ssh-keygen": "openssh-client",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""By which debootstrap knows Debian's archive; Ubuntu has it in a package apart."""


def require(progress: Progress) -> None:
    """Sees that we are root and all programs are there; installs Debian packages that are missing, after saying so.

    Raises:
        NotReadyError: not root, not Linux, or a package cannot be installed.
    """
    if not sys.platform.startswith("linux"):
        raise NotReadyError("a lab of machines needs Linux", hint="deploy lab up --kind processes")
    if os.geteuid() != 0:
        raise NotReadyError(
            "a lab of machines needs root",
            hint="sudo deploy lab up --kind machines    (without root: deploy lab up --kind processes)",
        )
    packages = missing_packages()
    if packages:
        _install(packages, progress)


def missing_packages() -> list[str]:
    """Return the Debian packages of what is not found."""
    path = search_path(os.environ.get("PATH", os.defpath))
    packages = {package for program, package in PACKAGE_OF.items() if shutil.which(program, path=path) is None}
    if shutil.which("apt-get", path=path) and not KEYRING.exists():
        packages.add("debian-archive-keyring")
    return sorted(packages)


def _install(packages: list[str], progress: Progress) -> None:
    command = ["apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", *packages]
    if shutil.which("apt-get") is None:
        missing = " ".join(packages)
        raise NotReadyError(f"these programs are missing: {missing}", hint="install them, then type deploy {command}")
    progress(f"installing what the lab needs: {' '.join(command)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    if attempt(command, env=env, timeout=900).returncode != 0:
        attempt(["apt-get", "update"], env=env, timeout=300)
        done = attempt(command, env=env, timeout=900)
        if done.returncode != 0:
            log = (done.stdout + done.stderr).strip().splitlines()[-8:]
            raise NotReadyError("packages the lab needs could not be installed", hint=" ".join(command), log=log)
