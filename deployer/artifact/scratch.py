"""Folders for the time of one run, in the system's place for such. A killed run's folder is removed by the next one.

The owner holds a kernel lock on the folder itself, which ends with the process, whatever ends that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer.agent.system import tree


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder of ours alone, gone after the block; those of this prefix and user whose owner is dead go first."""
    remove_stale(prefix)
    folder, handle = _made(prefix)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # what a hook left running writes there still: the next run sweeps it
            tree.remove(str(folder))
        os.close(handle)


def remove_stale(prefix: str) -> None:
    """Remove this user's folders of that prefix that no process holds.

    Folders that cannot be removed are left to the next run.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            handle = _opened(folder)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_uid == os.geteuid():
                    tree.remove(str(folder))
            finally:
                os.close(handle)


def _made(prefix: str) -> tuple[Path, int]:
    """Return a new folder and the descriptor that locks it.

    A sweep may come in between: then it is not there any more.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        with contextlib.suppress(FileNotFoundError):
            handle = _opened(folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.exists():
                return folder, handle
            os.close(handle)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
