"""A command with a terminal, as a person has one."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class Terminal:
    """A command with a terminal of 33 lines and 111 columns, as a person has one."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self._keys, theirs = pty.openpty()
        subprocess.run(["stty", "rows", "33", "cols", "111"], stdin=theirs, check=True)
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(theirs)
        self.screen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._keys)

    def types(self, text: str) -> None:
        os.write(self._keys, text.encode())

    def until(self, text: str, within: float = 60.0) -> None:
        """Until the screen shows `text`."""
        self._read(lambda: text in self.screen, within)
        assert text in self.screen, self.screen

    def end(self, within: float = 60.0) -> int:
        """The exit status, once it has one; what it prints until then is read."""
        self._read(lambda: self.process.poll() is not None, within)
        assert self.process.returncode is not None, self.screen
        return self.process.returncode

    def _read(self, enough: Callable[[], bool], within: float) -> None:
        deadline = time.monotonic() + within
        while not enough() and time.monotonic() < deadline:
            if select.select([self._keys], [], [], 0.1)[0]:
                try:
                    self.screen += os.read(self._keys, 1 << 16).decode("utf-8", "replace")
                except OSError:  # nobody has the other end any more
                    self.process.wait(within)
                    return
