"""A question at the terminal. Ctrl-C or SIGTERM ends it at once: nothing is in hand while a person is asked."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
from collections.abc import Iterator
from typing import Any, TextIO

from deployer.errors import InterruptedRun

_LINE_BYTES = 4096  # a terminal's longest line (termios(3), canonical mode)
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ask_yes_or_no(question: str) -> bool:
    """Ask until the answer is yes or no. Nothing typed, and the end of the input (Ctrl-D), are a no.

    Raises:
        InterruptedRun: Ctrl-C, SIGTERM, or the terminal was closed.
    """
    while True:
        answer = (_read_line(f"{question} [y/N]: ") or "").strip().lower()
        if answer in ("", "n", "no"):
            return False
        if answer in ("y", "yes"):
            return True
        _screen().write("please type y or n\n")


def ask_hidden(prompt: str) -> str | None:
    """Read a line that the terminal does not show; None at the end of the input.

    The echo is off before the prompt is shown, as switching it off discards what was typed before.

    Raises:
        InterruptedRun: Ctrl-C, SIGTERM, or the terminal was closed.
    """
    with _without_echo(sys.stdin.fileno()):
        answer = _read_line(f"{prompt}: ")
        if answer is not None:
            _screen().write("\n")  # in place of the one that the terminal did not show
        return answer


def _read_line(prompt: str) -> str | None:
    """Return the next line, without its newline; None at the end of the input.

    Waits for the terminal and for signals alike. A plain read would miss a signal that comes just before it.
    """
    keyboard = sys.stdin.fileno()
    with _signals() as signals:
        _screen().write(prompt)
        _screen().flush()
        while True:
            readable, _, _ = select.select([keyboard, signals], [], [])
            if signals in readable and set(signals.recv(64)) & set(_STOPPING):
                break
            if keyboard in readable:
                try:
                    line = os.read(keyboard, _LINE_BYTES)
                except OSError:  # the terminal was closed
                    break
                if not line:
                    _screen().write("\n")  # the cursor stands behind the question
                    return None
                return line.decode("utf-8", "replace").rstrip("\r\n")
    _screen().write("\n")
    raise InterruptedRun("stopped at the question; nothing was changed")


def _screen() -> TextIO:
    """Return where a person reads, also when the output goes to a file or a pipe."""
    return sys.stdout if sys.stdout.isatty() else sys.stderr


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket from which the numbers of the signals that arrive can be read; they do nothing else meanwhile."""
    ours, kernels = socket.socketpair()
    with ours, kernels:
        kernels.setblocking(False)
        handled = [signum for signum in _STOPPING if signal.getsignal(signum) is not signal.SIG_IGN]
        wakeup = signal.set_wakeup_fd(kernels.fileno(), warn_on_full_buffer=False)
        before: dict[signal.Signals, Any] = {signum: signal.signal(signum, _ignore) for signum in handled}
        try:
            yield ours
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)


def _ignore(signum: int, frame: object) -> None:
    """A handler in Python, as only such signals are written to the socket."""


@contextlib.contextmanager
def _without_echo(keyboard: int) -> Iterator[None]:
    before = termios.tcgetattr(keyboard)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(keyboard, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)
