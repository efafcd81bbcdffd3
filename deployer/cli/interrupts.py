"""What stops a run from outside: Ctrl-C, SIGTERM, a terminal that closes. Once winds up; twice ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

AT_ONCE_S = 0.7
"""How long a run that was stopped twice has to end by itself."""

_LAST_WORDS_S = 0.2


def leave(status: int) -> None:
    """End the process with `status`, and the programs that it started, whatever threads still run or wait."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    _end_programs()
    os._exit(status)


def _end_programs() -> None:
    """End hooks, builds and checks, which would go on without us in sessions of their own."""
    from deployer import process_tree

    process_tree.kill(process_tree.descendants(os.getpid()))


class Interrupts:
    """Handles the signals that stop a run, as a context manager around it.

    The first one sets `interrupted` and calls `wind_up`. A second one raises KeyboardInterrupt in the main thread. If
    the process still lives `AT_ONCE_S` later, because a lock, a library, a terminal or a thread holds it, it ends with
    `status` after `last_words` had a moment. A thread of its own counts the signals, so that this also works while
    the main thread runs no Python code. Must be entered in the main thread.
    """

    def __init__(
        self,
        interrupted: threading.Event,
        *,
        wind_up: Callable[[], None],
        last_words: Callable[[], None],
        status: int,
    ) -> None:
        self._interrupted = interrupted
        self._wind_up = wind_up
        self._last_words = last_words
        self._status = status
        self._handled = 0
        self._left = threading.Event()
        self._winding_up: threading.Thread | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup_before = -1
        self._signals, self._wakeup = socket.socketpair()

    def __enter__(self) -> Interrupts:
        self._wakeup.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        # Pipelines stop their jobs with SIGTERM; a terminal that closes sends SIGHUP, which `nohup` has ignored.
        stopping = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            stopping.append(signal.SIGHUP)
        self._before = {signum: signal.signal(signum, self._handle) for signum in stopping}
        threading.Thread(target=self._count, args=(set(stopping),), name="signals", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        if self._winding_up is not None:
            self._winding_up.join(AT_ONCE_S)
        for signum, old in self._before.items():
            signal.signal(signum, old)
        signal.set_wakeup_fd(self._wakeup_before)
        self._wakeup.close()

    def _handle(self, signum: int, frame: object) -> None:
        """In the main thread, as soon as that runs Python code."""
        self._handled += 1
        # A closing terminal sends SIGHUP twice, by the kernel and by the shell.
        if self._handled > 1 and signum != signal.SIGHUP:
            raise KeyboardInterrupt

    def _count(self, stopping: set[signal.Signals]) -> None:
        received = 0
        while data := self._signals.recv(64):
            for signum in data:
                if signum not in stopping:
                    continue
                received += 1
                if received == 1:
                    winding_up = threading.Thread(target=self._wind_up, name="winding up", daemon=True)
                    winding_up.start()
                    self._winding_up = winding_up  # known before the work ends, so that its end waits for the words
                    self._interrupted.set()
                elif signum != signal.SIGHUP:
                    self._end_soon()
        self._signals.close()

    def _end_soon(self) -> None:
        def end() -> None:
            if self._left.wait(AT_ONCE_S):
                return
            speaking = threading.Thread(target=self._speak, daemon=True)
            speaking.start()
            speaking.join(_LAST_WORDS_S)
            os._exit(self._status)

        threading.Thread(target=end, name="end", daemon=True).start()

    def _speak(self) -> None:
        with contextlib.suppress(Exception):
            self._last_words()
        _end_programs()
