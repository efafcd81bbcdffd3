"""A command with a terminal, as a person has one: keys go in, and an emulator reads the screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pyte

CTRL_C, CTRL_S, CTRL_Q = "\x03", "\x13", "\x11"
_HISTORY = 5000  # lines
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a terminal of its own, of 33 lines and 111 columns by default. A context manager.

    `screen` is all that was written, with its control sequences; `lines` what a person sees, scrolled back to the top.
    The terminal is the command's controlling one, so that Ctrl-C, Ctrl-S and hanging up do what they do.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        *,
        columns: int = 111,
        rows: int = 33,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._keys, slave = pty.openpty()
        self.resize(columns, rows, notify=False)
        inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**inherited, "TERM": "xterm", **(env or {})},
        )
        os.close(slave)
        self.screen = ""
        self._emulator = pyte.HistoryScreen(columns, rows, history=_HISTORY)
        self._stream = pyte.Stream(self._emulator)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def types(self, text: str) -> None:
        """Presses these keys."""
        os.write(self._keys, text.encode())

    def resize(self, columns: int, rows: int, *, notify: bool = True) -> None:
        """Gives the window another size."""
        fcntl.ioctl(self._keys, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if notify:
            self._emulator.resize(rows, columns)

    def hang_up(self) -> None:
        """Closes the window."""
        with contextlib.suppress(OSError):
            os.close(self._keys)

    @property
    def lines(self) -> list[str]:
        """What a person reads, from the first line that was shown to the last."""
        history = [
            "".join(row[column].data for column in range(self._emulator.columns)).rstrip()
            for row in self._emulator.history.top
        ]
        return [*history, *(line.rstrip() for line in self._emulator.display)]

    @property
    def text(self) -> str:
        """The lines, joined."""
        return "\n".join(self.lines)

    @property
    def echoes(self) -> bool:
        """Whether keys are shown as they are typed."""
        return bool(termios.tcgetattr(self._keys)[3] & termios.ECHO)

    @property
    def cursor_shown(self) -> bool:
        """Whether the cursor is visible."""
        return not self._emulator.cursor.hidden

    def until(self, text: str, within: float = 120.0) -> None:
        """Until the screen has shown `text`."""
        self._read(lambda: text in _CONTROL_SEQUENCE.sub("", self.screen), within)
        assert text in _CONTROL_SEQUENCE.sub("", self.screen), self.text

    def end(self, within: float = 240.0) -> int:
        """The exit status, once it has one; what it prints until then is read."""
        self._read(lambda: self.process.poll() is not None, within)
        assert self.process.returncode is not None, self.text
        self._read(lambda: not select.select([self._keys], [], [], 0)[0], 5.0)
        return self.process.returncode

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing is written for so long."""
        return not select.select([self._keys], [], [], seconds)[0]

    def signal(self, signum: signal.Signals) -> None:
        """Sends a signal to the command."""
        self.process.send_signal(signum)

    def _read(self, enough: Callable[[], bool], within: float) -> None:
        deadline = time.monotonic() + within
        while not enough() and time.monotonic() < deadline:
            if select.select([self._keys], [], [], 0.1)[0]:
                try:
                    text = os.read(self._keys, 1 << 16).decode("utf-8", "replace")
                except OSError:  # nobody has the other end any more
                    self.process.wait(within)
                    return
                self.screen += text
                self._stream.feed(text)
