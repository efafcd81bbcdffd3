"""What is done when an agent ends: callbacks of the operations, and staying alive until they are done.

shutdown.on_loss(readmit)   the controller was lost: run once, in the order of registration
shutdown.on_end(release)    the agent ends, lost or not; after all `on_loss`
shutdown.on_notice(tell)    the controller was lost: called at once, with the time by which the agent ends
shutdown.bound(until)       asked then for how long something that this agent guards takes
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Callable

Callback = Callable[[], None]
Notice = Callable[[float], None]
Bound = Callable[[], float]


class ShutdownHooks:
    """Callbacks for the end of the agent, each called at most once; what one raises is printed, not passed on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._on_loss: list[Callback] = []
        self._on_end: list[Callback] = []
        self._on_notice: list[Notice] = []
        self._bounds: list[Bound] = []

    def on_notice(self, callback: Notice) -> None:
        """Registers what is told when the agent ends (seconds since the epoch), once the controller is lost."""
        with self._lock:
            self._on_notice.append(callback)

    def bound(self, seconds: Bound) -> None:
        """Registers what says for how many seconds from now on the agent has to stay without its controller."""
        with self._lock:
            self._bounds.append(seconds)

    def notice(self, seconds: float) -> None:
        """Tells the latest end: `seconds` from now for the operation in hand, or what `bound` says, if it is later."""
        with self._lock:
            callbacks, bounds = list(self._on_notice), list(self._bounds)
        try:
            until = time.time() + max([seconds, *(bound() for bound in bounds)])
            for callback in callbacks:
                callback(until)
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)

    def on_loss(self, callback: Callback) -> Callback:
        """Registers `callback` for the loss of the controller; returns a function that takes it back."""
        return self._register(self._on_loss, callback)

    def on_end(self, callback: Callback) -> Callback:
        """Registers `callback` for every end; returns a function that takes it back."""
        return self._register(self._on_end, callback)

    def finish(self, lost: bool) -> None:
        """Calls what is registered: for a loss first, if it was one, then for the end."""
        if lost:
            self._call_all(self._on_loss)
        self._call_all(self._on_end)

    def _register(self, callbacks: list[Callback], callback: Callback) -> Callback:
        with self._lock:
            callbacks.append(callback)

        def forget() -> None:
            with self._lock:
                if callback in callbacks:
                    callbacks.remove(callback)

        return forget

    def _call_all(self, callbacks: list[Callback]) -> None:
        while True:
            with self._lock:
                if not callbacks:
                    return
                callback = callbacks.pop(0)
            try:
                callback()
            except Exception as error:
                sys.excepthook(type(error), error, error.__traceback__)


# The one of this process: a process is one agent.
the_end = ShutdownHooks()
on_loss = the_end.on_loss
on_end = the_end.on_end
on_notice = the_end.on_notice
bound = the_end.bound


def escape_session() -> bool:
    """Moves this process into a systemd scope of its own; True if it did.

    With logind's `KillUserProcesses=yes` the end of the SSH session kills everything in the session's scope, also an
    agent that is still winding up. Nothing is done without systemd as init, or without root.
    """
    if os.geteuid() != 0 or not os.path.isdir("/run/systemd/system") or not _in_session_scope():
        return False
    from deployer.agent.system.process_runner import run

    unit = "deploy-agent-%d-%s.scope" % (os.getpid(), os.urandom(4).hex())
    manager = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    properties = ("PIDs", "au", "1", str(os.getpid()), "CollectMode", "s", "inactive-or-failed")
    call = ("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "2", *properties, "0")
    return run(("busctl", "--quiet", "call", *manager, *call), timeout=10).ok and _wait_until_out(2.0)


def _wait_until_out(seconds: float) -> bool:
    """systemd answers before it has moved the process."""
    ends = time.monotonic() + seconds
    while _in_session_scope():
        if time.monotonic() > ends:
            return False
        time.sleep(0.005)
    return True


def _in_session_scope() -> bool:
    """Whether a login session's scope (`session-3.scope`) holds this process."""
    try:
        with open("/proc/self/cgroup") as file:
            return any("/session-" in line and ".scope" in line for line in file)
    except OSError:
        return False
