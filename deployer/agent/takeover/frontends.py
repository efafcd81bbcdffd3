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
    for each in _files(kind, path):
        with contextlib.suppress(NoMatch):
            if _LEADS[kind](read(each), backend):
                return True
    return False


def locate(kind: str, path: str, places: dict[str, str], backend: str) -> tuple[str, Rewrite]:
    """The file that leads to `places`, of all that the balancer reads where none is named, and how it is to be.

    Raises CannotMove where there is none, or more than one; OSError.
    """
    there: dict[str, Rewrite] = {}
    why: list[str] = []
    for each in _files(kind, path):
        try:
            there[each] = moved(kind, read(each), places, backend)
        except NoMatch as error:
            why.append(f"{each}: {error}")
        except Unsupported as error:
            raise Unsupported(f"{each}: {error}") from error
    if not there:
        raise Unsupported(why[0] if len(why) == 1 else f"no file that {kind} reads sends to the app")
    changed = [each for each, after in there.items() if after.diff] or list(there)
    if len(changed) > 1:
        raise Unsupported(f"{changed[0]} and {changed[1]} both send to the app: let one upstream do that")
    return changed[0], there[changed[0]]


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
    said = process_runner.run([shutil.which("nginx") or "/usr/sbin/nginx", "-T"], timeout=_CHECK)
    if not said.ok:
        raise Unsupported(f"`nginx -T` tells nothing of its configuration: {said.why}")
    every = dict.fromkeys(_FILE.findall(said.stdout))
    return [each for each in every if not each.startswith(OURS)]
