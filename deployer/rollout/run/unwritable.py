"""What to type when a program of the app could not write below its release, which is read-only."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from deployer.errors import DeployError
from deployer.plan.topology import Topology

# OSError of Python, and what coreutils and shells print: the path before or after the words.
_QUOTED = re.compile(r"(?:Read-only file system|Permission denied): ['\"](?P<path>[^'\"]+)['\"]")
_BEFORE = re.compile(r"['\"\u2018]?(?P<path>/?[\w./@+-]+)['\"\u2019]?: Read-only file system")
_WHY = "releases are read-only (docs/settings.md, Shared paths)"
_READONLY_DATABASE = "attempt to write a readonly database"
_SQLITE = re.compile(f"unable to open database file|{_READONLY_DATABASE}")


def hint_for(error: DeployError, topology: Topology) -> str:
    """What to write into deploy.yaml for a write that a release refused; empty where the error tells of no such write.

    The path comes from the last lines of the program that failed.
    """
    lines = [error.message, error.cause or "", *error.log]
    push = f"then type deploy push {topology.env}"
    for path in _paths(lines):
        inside = _in_release(path, topology)
        if inside:
            folder = posixpath.dirname(inside) or inside
            what = f"{folder}/" if posixpath.dirname(inside) else inside
            return f"write shared: [{what}] in deploy.yaml, {push}: {_WHY}"
        if _in_shared(path, topology):
            return _give(topology)
    if topology.settings.shared and any(_READONLY_DATABASE in line for line in lines):
        return _give(topology)
    if any(_SQLITE.search(line) for line in lines):
        return (
            "put the SQLite file into a folder of its own, such as data/, write shared: [data/] in deploy.yaml, "
            f"{push}: {_WHY}"
        )
    return ""


def _give(topology: Topology) -> str:
    user, shared = topology.web[0].site.user, topology.web[0].site.shared
    return f"deploy exec {topology.env} -- 'chown -Rh {user}: {shared}' gives the app what it may not write"


def _paths(lines: Iterable[str]) -> list[str]:
    return [match["path"] for line in lines for pattern in (_QUOTED, _BEFORE) for match in pattern.finditer(line)]


def _in_release(path: str, topology: Topology) -> str:
    """The path within the release; empty where it does not lie in one. A relative path starts in the release."""
    if not path.startswith("/"):
        return posixpath.normpath(path) if not path.startswith("..") else ""
    for web in topology.web:
        match = re.match(re.escape(web.site.root) + r"/(?:releases/[^/]+|current|slots/\d+)/(?P<inside>.+)", path)
        if match:
            return posixpath.normpath(match["inside"])
    return ""


def _in_shared(path: str, topology: Topology) -> bool:
    return any(path.startswith(web.site.shared + "/") for web in topology.web)
