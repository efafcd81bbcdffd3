"""The processes below this one, also those whose parent has died."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from deployer.agent.system import process_runner, procfs

_LINUX = sys.platform.startswith("linux")
_SET_SUBREAPER, _GET_SUBREAPER = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER of prctl(2)
_POLL_INTERVAL_S = 0.05
_PS_TIMEOUT_S = 10.0


def become_subreaper() -> bool:
    """Makes this process the parent of every descendant whose own parent dies. False except on Linux."""
    return _LINUX and ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1, 0, 0, 0) == 0


@contextmanager
def subreaper() -> Iterator[None]:
    """Makes this process a subreaper for as long as the context lasts; nothing except on Linux."""
    before = ctypes.c_int(0)
    if not _LINUX or ctypes.CDLL(None).prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0) != 0 or before.value:
        yield
        return
    become_subreaper()
    try:
        yield
    finally:
        ctypes.CDLL(None).prctl(_SET_SUBREAPER, 0, 0, 0, 0)


def descendants(pid: int) -> set[int]:
    """Return the ids of all living descendants of a process."""
    return procfs.pids_below(pid, _pairs())


def kill(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Sends a signal to processes; one that has gone is skipped."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap(within: float) -> None:
    """Waits until no child is left, at most `within` seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(_POLL_INTERVAL_S)


class NewDescendants(process_runner.Members):
    """What a program started in this session: the descendants of this process that did not exist before it.

    Programs of other threads are in sessions of their own, and do not count.
    """

    def __init__(self) -> None:
        self._before = descendants(os.getpid())

    def signal(self, number: int) -> None:
        """Sends a signal to all of them."""
        kill(self._living(), number)

    def alive(self) -> bool:
        """Return whether one of them lives."""
        return bool(self._living())

    def _living(self) -> set[int]:
        return {pid for pid in descendants(os.getpid()) - self._before if _in_our_session(pid)}


def _in_our_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == os.getsid(0)
    except OSError:
        return False


def _pairs() -> Iterable[tuple[int, int]]:
    """Process and parent, of all that live."""
    if _LINUX:
        known = (procfs.process(pid) for pid in procfs.pids())
        return [(process.pid, process.ppid) for process in known if process and not process.dead]
    listing = process_runner.run(["ps", "-A", "-o", "pid=,ppid="], timeout=_PS_TIMEOUT_S).stdout
    pairs = (line.split() for line in listing.splitlines())
    return [(int(pair[0]), int(pair[1])) for pair in pairs if len(pair) == 2]
