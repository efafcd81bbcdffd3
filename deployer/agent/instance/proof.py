"""Proof that an instance serves a release, judged from processes and sockets; links and exit codes prove nothing.

Proven is: the socket listening on address:port belongs to descendants of the supervisor's own process and to nobody
else (but for systemd, where that holds the port for them); every one of them was started after the step, runs in the
release folder with the release's interpreter; and the health path answers. An orphan of a killed parent can hold the
port and answer for the wrong release, and a process can overwrite its own command line, so neither counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable

from deployer.agent.instance import health
from deployer.agent.model.endpoints import place as place_of
from deployer.agent.model.layout import Site
from deployer.agent.model.supervision import Instance
from deployer.agent.system import procfs
from deployer.agent.system.port_owners import DELETED, PortOwner, belongs, describe_process, find_port_owner, release_of

if TYPE_CHECKING:
    from deployer.agent.model.messages.instances import SlotState


@dataclass(frozen=True)
class Proof:
    """What was found. `why` says in plain words what is missing; empty when `proven`.

    `step` is how far the examination came: `listen`, `holder` (somebody else has the port), `process`, `health`,
    `done`. `pids` hold the socket; `release` is the one release they all run in, whether it was wanted or not.
    `hint` says what to change, where the health path's answer tells. `unseen`: this user may not look at its processes,
    so it may well serve.
    """

    proven: bool
    step: str
    why: str = ""
    pids: tuple[int, ...] = ()
    release: str | None = None
    hint: str = ""
    unseen: bool = False

    def as_state(self, instance: int) -> SlotState:
        """The answer of `instance.prove` for an instance, by its index."""
        return {
            "proven": self.proven,
            "why": self.why,
            "pids": list(self.pids),
            "release": self.release,
            "unseen": self.unseen,
            "instance": instance,
        }


def examine(
    site: Site,
    instance: Instance,
    release: str,
    main: int,
    started_after: float | None = None,
    *,
    of_workers: bool = False,
    patience: float = 0.0,
    still: Callable[[], bool] = lambda: True,
) -> Proof:
    """Looks once whether the instance serves the release.

    Args:
        main: the supervisor's main process of the instance, 0 when it runs none.
        started_after: seconds of the boot-time clock; whoever holds the socket must be younger. None: any age.
        of_workers: the main process may be of any age, and has to have workers that listen.
        patience: seconds for the health path's answer where users' requests that waited come first.
        still: whether that wait makes sense, asked meanwhile.
    """
    place = place_of(instance.address, instance.port)
    holding = find_port_owner(instance.address, instance.port)
    shared = _common_release(site, holding)
    if not main and holding.free:
        return Proof(False, "listen", f"{instance.verbs.unit} is not running")
    if holding.free:
        return Proof(False, "listen", f"nothing listens on {place}")
    if holding.waiting:
        why = "systemd keeps %s open, and no process of %s has taken it over"
        return Proof(False, "listen", why % (place, instance.verbs.unit), holding.pids, shared)
    if holding.unseen:
        why = "%s is held by a process of user %s that user %s may not look into"
        why = why % (place, ", ".join(holding.unseen), procfs.user_name(os.geteuid()))
        return Proof(False, "holder", why, unseen=True)
    strangers = [pid for pid in holding.pids if not belongs(pid, main, instance.verbs.unit)]
    if strangers:
        why = "%s is held by %s, which does not belong to %s"
        why = why % (place, describe_process(strangers[0]), instance.verbs.unit)
        return Proof(False, "holder", why, holding.pids, shared)
    if of_workers and holding.pids == (main,):
        return Proof(False, "process", "no worker of process %d listens on %s" % (main, place), holding.pids, shared)
    closed = [pid for pid in holding.pids if not _may_look_into(pid)]
    if closed:
        why = "process %d, which listens on %s, may not be looked into by user %s"
        why = why % (closed[0], place, procfs.user_name(os.geteuid()))
        return Proof(False, "process", why, holding.pids, shared, unseen=True)
    for pid in holding.pids:
        problem = _wrong_process(site, release, pid, None if of_workers and pid == main else started_after)
        if problem:
            return Proof(
                False, "process", "process %d, which listens on %s, %s" % (pid, place, problem), holding.pids, shared
            )
    check = health.of_release(site, release, instance.health)
    check = replace(check, timeout=max(check.timeout, patience))
    answer = health.ask(instance.address, instance.port, check, still=still)
    if not answer.ok:
        return Proof(False, "health", answer.why, holding.pids, shared, answer.hint)
    return Proof(True, "done", "", holding.pids, shared)


def _common_release(site: Site, holding: PortOwner) -> str | None:
    releases = {release_of(site, pid) for pid in holding.pids}
    return releases.pop() if len(releases) == 1 else None


def _wrong_process(site: Site, release: str, pid: int, started_after: float | None) -> str:
    """What keeps a process from counting, in words that follow its name; empty when nothing does."""
    process = procfs.process(pid)
    if process is None or process.dead:
        return "has just ended"
    if started_after is not None and process.started < started_after - procfs.TICK:
        return "was started %.1f s before this step" % (started_after - process.started)
    folder = os.path.realpath(site.release(release))
    cwd, exe = procfs.link(pid, "cwd") or "", procfs.link(pid, "exe") or ""
    if not _inside(cwd, [folder]):
        return f"runs in {cwd}, not in release {release}"
    venv = folder + "/.venv"
    if not os.path.lexists(venv):
        return ""
    python = os.path.realpath(venv + "/bin/python")
    # An interpreter that the system replaced by an update is still the one that the release named.
    if _inside(exe.replace(DELETED, ""), [folder, os.path.realpath(venv), python]):
        return ""
    return f"runs {exe}, not the interpreter of release {release} ({python})"


def _may_look_into(pid: int) -> bool:
    """Whether this user sees where a process runs. One that has ended counts as seen: others say so of it."""
    process = procfs.process(pid)
    if process is None or process.dead:
        return True
    return procfs.link(pid, "cwd") is not None and procfs.link(pid, "exe") is not None


def _inside(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)
