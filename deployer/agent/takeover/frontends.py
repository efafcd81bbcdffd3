"""Frontends that somebody else configured on a balancer's host: which file has them, by the balancer's kind."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import Callable

from deployer.agent.system import process_runner, procfs
from deployer.agent.takeover import haproxy_frontend, nginx_frontend
from deployer.agent.takeover.frontend import NoMatch, Rewrite, Unsupported

OURS = "/etc/nginx/deploy/"
_CHECK = 60.0  # seconds
_FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
_MOVED: dict[str, Callable[[str, dict[str, str], str, Callable[[str], list[str]]], Rewrite]] = {
    "haproxy": haproxy_frontend.moved,
    "nginx": nginx_frontend.moved,
}
_LEADS: dict[str, Callable[[str, str], bool]] = {"haproxy": haproxy_frontend.leads, "nginx": nginx_frontend.leads}


def moved(kind: str, text: str, places: dict[str, str], backend: str) -> Rewrite:
    """The text of a balancer's configuration with what leads to `places` led to `backend`; raises CannotMove."""
    return _MOVED[kind](text, places, backend, procfs.resolved)


def leads(kind: str, path: str, backend: str) -> bool:
    """Whether users are led to `backend` by the file at `path`, or without a path by any file; CannotMove, OSError."""
    for file in _files(kind, path):
        with contextlib.suppress(NoMatch):
            if _LEADS[kind](read(file), backend):
                return True
    return False


def locate(kind: str, path: str, places: dict[str, str], backend: str) -> tuple[str, Rewrite]:
    """The file that leads to `places`, of all that the balancer reads where none is named, and how it is to be.

    Raises CannotMove where there is none, or more than one; OSError.
    """
    rewrites: dict[str, Rewrite] = {}
    why: list[str] = []
    for file in _files(kind, path):
        try:
            rewrites[file] = moved(kind, read(file), places, backend)
        except NoMatch as error:
            why.append(f"{file}: {error}")
        except Unsupported as error:
            raise Unsupported(f"{file}: {error}") from error
    if not rewrites:
        raise Unsupported(why[0] if len(why) == 1 else f"no file that {kind} reads sends to the app")
    changed = [file for file, after in rewrites.items() if after.diff] or list(rewrites)
    if len(changed) > 1:
        raise Unsupported(f"{changed[0]} and {changed[1]} both send to the app: let one upstream do that")
    return changed[0], rewrites[changed[0]]


def read(path: str) -> str:
    """The file's text, with its line ends as they are; bytes that are no UTF-8 stay what they are (`encoded`)."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def encoded(text: str) -> bytes:
    """What `read` has read, as bytes."""
    return text.encode("utf-8", "surrogateescape")


def _files(kind: str, path: str) -> list[str]:
    if path:
        return [path]
    result = process_runner.run([shutil.which("nginx") or "/usr/sbin/nginx", "-T"], timeout=_CHECK)
    if not result.ok:
        raise Unsupported(f"`nginx -T` tells nothing of its configuration: {result.why}")
    paths = dict.fromkeys(_FILE.findall(result.stdout))
    return [file for file in paths if not file.startswith(OURS)]
