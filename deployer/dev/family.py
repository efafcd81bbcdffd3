"""All processes that a server here has started, also those whose parent has died."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from deployer.agent import procfs

_LINUX = sys.platform.startswith("linux")
_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_LOOK_S = 0.05


def adopt() -> bool:
    """From now on a process whose parent dies below this one becomes its own child. False where there is no such thing
    (only Linux has it)."""
    return _LINUX and ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0) == 0


def below(pid: int) -> set[int]:
    """The ids of all living descendants of a process."""
    children: dict[int, list[int]] = {}
    for child, parent in _pairs():
        children.setdefault(parent, []).append(child)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        fresh = [child for child in children.get(waiting.pop(), ()) if child not in found]
        found.update(fresh)
        waiting += fresh
    return found


def kill(pids: Iterable[int]) -> None:
    """SIGKILL; those that have gone are none."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def reap(within: float) -> None:
    """Waits until no child is left, at most `within` seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(_LOOK_S)


def _pairs() -> Iterable[tuple[int, int]]:
    """Process and parent, of all that live."""
    if _LINUX:
        known = (procfs.process(pid) for pid in procfs.pids())
        return [(each.pid, each.ppid) for each in known if each and not each.dead]
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    pairs = (line.split() for line in told.splitlines())
    return [(int(pair[0]), int(pair[1])) for pair in pairs if len(pair) == 2]
