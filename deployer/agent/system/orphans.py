"""What a killed agent left running in a folder that was never finished: an installer, a prepare hook."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from deployer.agent.operation import OpError
from deployer.agent.system import procfs, tree

_PATIENCE = 10.0  # seconds until a killed process is gone


def kill_under(folder: str) -> list[int]:
    """Kills the processes that work below `folder`, so that they cannot write into what is made there next.

    A process with a terminal belongs to a person and is left alone. Returns the ids of those killed; raises OpError
    `busy` when one does not go away.
    """
    real = os.path.realpath(folder)
    orphans = [
        pid for pid in procfs.pids() if pid != os.getpid() and _works_below(pid, real) and not _has_terminal(pid)
    ]
    for pid in orphans:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while any(_works_below(pid, real) for pid in orphans):
        if time.monotonic() > deadline:
            raise OpError(
                "busy", "process %d still works in %s" % (orphans[0], folder), "look at it, then type deploy push {env}"
            )
        time.sleep(0.02)
    return orphans


def _works_below(pid: int, folder: str) -> bool:
    cwd = procfs.link(pid, "cwd")
    return cwd is not None and tree.inside(folder, cwd)


def _has_terminal(pid: int) -> bool:
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[4] != b"0"
    except (OSError, IndexError):
        return False
