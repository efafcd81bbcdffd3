"""Packages of Debian and its children, by dpkg-query and apt-get."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from typing import Callable

from deployer.agent.operation import OpError
from deployer.agent.system import process_runner

_LOCK_WAIT = 300  # seconds to wait for another apt or dpkg (unattended upgrades) to end
_LONGEST = 1800.0  # seconds for one installation, downloads included
_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?$")


def missing(names: Sequence[str]) -> list[str]:
    """Those of `names` that are not installed.

    Raises:
        OpError `failed`: the host has no dpkg, or a name is no package's.
    """
    if not names:
        return []
    for name in names:
        if not _NAME.match(name):
            raise OpError("failed", f"{name!r} is not the name of a package", "correct it under packages")
    if not shutil.which("dpkg-query"):
        raise OpError(
            "failed",
            "this host has no dpkg, so its packages cannot be managed",
            f"install {' '.join(names)} by hand and leave them out; so far setup knows Debian and Ubuntu",
        )
    result = process_runner.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}:${Architecture}\\n", *names], timeout=60
    )
    installed: set[str] = set()
    for line in result.stdout.splitlines():
        status, _, name = line.partition(" ")
        if status == "installed":
            installed.update((name, name.partition(":")[0]))
    return [name for name in names if name not in installed]


def require(name: str, at_least: str) -> None:
    """Sees that a package is, or would be installed, in this version or a later one; nothing known says yes.

    Raises:
        OpError `too_old`: it is an earlier one.
    """
    result = process_runner.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name], timeout=60)
    status, _, version = result.stdout.partition(" ")
    if status != "installed":
        policy = process_runner.run(
            ["apt-cache", "policy", name], timeout=60, env={"LC_ALL": "C.UTF-8", "PATH": os.defpath}
        )
        match = re.search(r"^ *Candidate: (\d\S*)$", policy.stdout, re.MULTILINE)
        version = match.group(1) if match else ""
    if version and not process_runner.run(["dpkg", "--compare-versions", version, "ge", at_least], timeout=60).ok:
        raise OpError(
            "too_old",
            f"{name} is {version} on this host, and {at_least} or later is needed",
            f"install a later {name} there (backports have one), or take a host with a later distribution",
        )


def install(names: Sequence[str], on_line: Callable[[str], None]) -> None:
    """Installs packages without what they merely recommend. Package lists are refreshed only if it fails without.

    Raises:
        OpError `failed`: not root, or apt-get refused; its last lines are the error's log.
    """
    if os.geteuid() != 0:
        raise OpError("failed", f"installing {' '.join(names)} needs root", "connect as root, or allow sudo")
    words = ["install", "--yes", "--no-install-recommends", *names]
    done = _apt(words, on_line)
    if not done.ok:
        _apt(["update"], on_line)
        done = _apt(words, on_line)
    if not done.ok:
        log = done.log()
        raise OpError("failed", f"apt-get could not install {' '.join(names)}: {done.why}", log=log)


def _apt(words: Sequence[str], on_line: Callable[[str], None]) -> process_runner.Finished:
    options = ["-q", "-o", "DPkg::Lock::Timeout=%d" % _LOCK_WAIT, "-o", "Dpkg::Options::=--force-confold"]
    env = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        # needrestart would otherwise restart services of others because a library of theirs was upgraded.
        "NEEDRESTART_SUSPEND": "1",
        "LC_ALL": "C.UTF-8",
    }
    return process_runner.run(["apt-get", *options, *words], timeout=_LONGEST, env=env, on_line=on_line)
