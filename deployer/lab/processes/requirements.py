"""What this machine must have for a lab of processes; nothing is installed, since we may not be root."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from deployer.artifact.caddy_binary import caddy_for
from deployer.cache import cache
from deployer.errors import NotReadyError, UsageError
from deployer.lab.commands import search_path
from deployer.lab.model import LabSpec
from deployer.lab.place import Place

LONGEST_PREFIX = 66
"""Characters: haproxy appends up to 40 to it for its sockets, and a socket's path has at most 107."""

_SAFE = re.compile(r"^[A-Za-z0-9/._+-]+$")


def find_program(name: str, package: str) -> str:
    """Return the path of a program, looked for in the `sbin` folders too; NotReadyError when there is none."""
    path = shutil.which(name, path=search_path(os.environ.get("PATH", os.defpath)))
    if path is None:
        raise NotReadyError(f"a lab of processes needs {name}", hint=f"sudo apt-get install {package}")
    return path


def has_program(name: str) -> bool:
    """Return whether `find_program` would find it."""
    return shutil.which(name, path=search_path(os.environ.get("PATH", os.defpath))) is not None


def require(spec: LabSpec, place: Place) -> None:
    """Sees that every program is there and that paths are such that sockets and config files can hold them.

    Raises:
        NotReadyError: something is missing; the hint has the command to type.
        UsageError: the cache folder's path is too long, or has characters that config files give a meaning.
    """
    if not sys.platform.startswith("linux"):
        raise NotReadyError("a lab of processes needs Linux: each host has a loopback address of its own")
    find_program("sshd", "openssh-server")
    find_program("ssh-keygen", "openssh-client")
    if importlib.util.find_spec("supervisor") is None:
        raise NotReadyError("a lab of processes needs supervisor", hint=f"{sys.executable} -m pip install supervisor")
    if spec.balancer in ("haproxy", "nginx"):
        find_program(spec.balancer, spec.balancer)
    if spec.balancer == "caddy":
        caddy_for(cache())
    prefix = str(Path(place.host(spec.names[-1])) / "root")
    if len(prefix) > LONGEST_PREFIX or not _SAFE.match(prefix):
        raise UsageError(
            f"the lab's folder {prefix} cannot be used",
            cause=f"at most {LONGEST_PREFIX} characters (it has {len(prefix)}), of letters, digits and / . _ + -",
            hint="give the lab a shorter --name, or set XDG_CACHE_HOME to a shorter path",
        )
