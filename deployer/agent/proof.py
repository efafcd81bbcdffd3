"""Proof that an instance serves a release, judged from processes and sockets; links and exit codes prove nothing.

Proven is: the socket listening on address:port belongs to descendants of the supervisor's own process and to nobody
else; every one of them was started after the step, runs in the release folder with the release's interpreter; and the
health path answers. An orphan of a killed parent can hold the port and answer for the wrong release, and a process can
overwrite its own command line, so neither counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Set, Tuple

from deployer.agent import health, procfs
from deployer.agent.layout import Site
from deployer.agent.supervision import Instance

_DELETED = " (deleted)"


@dataclass(frozen=True)
class Proof:
    """What was found. `why` says in plain words what is missing; empty when `proven`.

    `step` is how far the examination came: `listen`, `holder` (somebody else has the port), `process`, `health`,
    `done`. `pids` hold the socket; `release` is the one release they all run in, whether it was wanted or not.
    """

    proven: bool
    step: str
    why: str = ""
    pids: Tuple[int, ...] = ()
    release: Optional[str] = None

    def as_dict(self) -> Dict[str, Any]:
        """The answer of `instance.prove` for one instance."""
        return {"proven": self.proven, "why": self.why, "pids": list(self.pids), "release": self.release}


@dataclass(frozen=True)
class Hold:
    """Who has address:port. `unseen` are the users whose processes hold it but may not be looked into."""

    pids: Tuple[int, ...] = ()
    unseen: Tuple[str, ...] = ()

    @property
    def free(self) -> bool:
        """Nobody listens there."""
        return not self.pids and not self.unseen


def hold(address: str, port: int) -> Hold:
    """Everybody who has a socket listening on address:port, wildcards and IPv4-mapped ones included."""
    sockets = [found for found in procfs.listeners([port]) if procfs.covers(found, address)]
    held = procfs.holders(found.inode for found in sockets)
    pids: Set[int] = set().union(*held.values())
    # A process that ended between the two looks leaves an inode without a holder: only one still listed counts.
    nobody = [found for found in sockets if not held[found.inode]]
    still = {found.inode for found in procfs.listeners([port])} if nobody else set()
    return Hold(
        tuple(sorted(pids)),
        tuple(sorted({procfs.user_name(found.uid) for found in nobody if found.inode in still})),
    )


def belongs(pid: int, main: int, unit: str) -> bool:
    """Whether a process is the unit's main process, descends from it, or lies in the unit's own cgroup."""
    return bool(main) and (main in procfs.ancestors(pid) or procfs.in_unit(pid, unit))


def release_of(site: Site, pid: int) -> Optional[str]:
    """The release whose folder a process runs in, even if that folder is gone; None outside of the site's releases."""
    cwd = procfs.link(pid, "cwd")
    releases = os.path.realpath(site.releases) + "/"
    if cwd is None or not cwd.startswith(releases):
        return None
    return cwd[len(releases) :].split("/")[0].replace(_DELETED, "") or None


def described(pid: int) -> str:
    """`process 812 (python -m http.server, user bob)`."""
    return "process %d (%s, user %s)" % (pid, procfs.command(pid) or "?", procfs.user_of(pid) or "?")


def examine(site: Site, instance: Instance, release: str, main: int, started_after: Optional[float] = None) -> Proof:
    """Looks once whether the instance serves the release.

    Args:
        main: the supervisor's main process of the instance, 0 when it runs none.
        started_after: seconds of the boot-time clock; whoever holds the socket must be younger. None: any age.
    """
    place = "%s:%d" % (instance.address, instance.port)
    holding = hold(instance.address, instance.port)
    shared = _common_release(site, holding)
    if not main and holding.free:
        return Proof(False, "listen", "%s is not running" % instance.verbs.unit)
    if holding.free:
        return Proof(False, "listen", "nothing listens on %s" % place)
    if holding.unseen:
        why = "%s is held by a process of user %s that user %s may not look into"
        return Proof(False, "holder", why % (place, ", ".join(holding.unseen), procfs.user_name(os.geteuid())))
    strangers = [pid for pid in holding.pids if not belongs(pid, main, instance.verbs.unit)]
    if strangers:
        why = "%s is held by %s, which is no part of %s"
        why = why % (place, described(strangers[0]), instance.verbs.unit)
        return Proof(False, "holder", why, holding.pids, shared)
    for pid in holding.pids:
        problem = _wrong_process(site, release, pid, started_after)
        if problem:
            return Proof(
                False, "process", "process %d, which listens on %s, %s" % (pid, place, problem), holding.pids, shared
            )
    answer = health.ask(instance.address, instance.port, instance.health)
    if not answer.ok:
        return Proof(False, "health", answer.why, holding.pids, shared)
    return Proof(True, "done", "", holding.pids, shared)


def _common_release(site: Site, holding: Hold) -> Optional[str]:
    found = {release_of(site, pid) for pid in holding.pids}
    return found.pop() if len(found) == 1 else None


def _wrong_process(site: Site, release: str, pid: int, started_after: Optional[float]) -> str:
    """What keeps a process from counting, in words that follow its name; empty when nothing does."""
    found = procfs.process(pid)
    if found is None or found.dead:
        return "has just ended"
    if started_after is not None and found.started < started_after - procfs.TICK:
        return "was started %.1f s before this step" % (started_after - found.started)
    folder = os.path.realpath(site.release(release))
    cwd, exe = procfs.link(pid, "cwd"), procfs.link(pid, "exe")
    if cwd is None or exe is None:
        return "may not be looked into by user %s" % procfs.user_name(os.geteuid())
    if not _inside(cwd, [folder]):
        return "runs in %s, not in release %s" % (cwd, release)
    venv = folder + "/.venv"
    if not os.path.lexists(venv):
        return ""
    python = os.path.realpath(venv + "/bin/python")
    # An interpreter that the system replaced by an update is still the one that the release named.
    if _inside(exe.replace(_DELETED, ""), [folder, os.path.realpath(venv), python]):
        return ""
    return "runs %s, not the interpreter of release %s (%s)" % (exe, release, python)


def _inside(path: str, folders: List[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)
