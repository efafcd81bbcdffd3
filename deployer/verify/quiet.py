"""Keeps what checks and pytest print away from our own output, without disturbing other threads' printing."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from typing import TextIO


class Quiet:
    """Drops what the thread that entered it writes to standard output and error; `lifted` lets a callback through.

    Replacing the streams for everybody (as pytest's own capture does) would swallow the live view of another thread.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._lifted = False

    @contextlib.contextmanager
    def entered(self) -> Iterator[Quiet]:
        """Quiet from here to the end of the block."""
        self._thread = threading.get_ident()
        stdout, stderr = sys.stdout, sys.stderr
        muffled = _Muffled(stdout, self), _Muffled(stderr, self)
        sys.stdout, sys.stderr = muffled
        try:
            yield self
        finally:
            if sys.stdout is muffled[0]:
                sys.stdout = stdout
            if sys.stderr is muffled[1]:
                sys.stderr = stderr

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """Lets our own callbacks print as ever."""
        before, self._lifted = self._lifted, True
        try:
            yield
        finally:
            self._lifted = before

    @property
    def now(self) -> bool:
        """Whether the calling thread is to be quiet."""
        return not self._lifted and threading.get_ident() == self._thread


class _Muffled(io.TextIOBase):
    def __init__(self, behind: TextIO, quiet: Quiet) -> None:
        self._behind = behind
        self._quiet = quiet

    def write(self, text: str) -> int:
        return len(text) if self._quiet.now else self._behind.write(text)

    def flush(self) -> None:
        if not self._quiet.now:
            self._behind.flush()

    def isatty(self) -> bool:
        return self._behind.isatty()

    def fileno(self) -> int:
        return self._behind.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._behind.encoding
