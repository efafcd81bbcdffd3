"""Single files and links that others read while they change: replaced in one step, and durable.

The contract of every function: a reader sees the old content or the new one, never a part of it; when the function
returns, content and name survive a power failure; when it raises, the old content is still there. A rename alone does
not promise that: without an fsync, a power failure may leave an empty file (see `man 2 fsync` and `man 2 rename`).
"""

from __future__ import annotations

import contextlib
import os


def write(path: str, data: bytes, mode: int, owner: tuple[int, int] | None = None, durable: bool = True) -> None:
    """Replaces a file as a whole.

    Args:
        path: its folder exists. A link at `path` is replaced, not followed.
        mode: set before the first byte is written, whatever the umask is.
        owner: uid and gid; the agent's own by default.
        durable: False for what means nothing after a reboot, and must not wait for a slow disk.

    Raises:
        OSError: the old file, if there was one, is still there.
    """
    temporary = _temporary(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), owner[0], owner[1])
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        fsync_folder(os.path.dirname(path))


def replace_link(path: str, target: str) -> None:
    """Makes `path` a symbolic link to `target`, whatever link or file was there.

    Raises:
        OSError: what was there still is, for example because it is a folder.
    """
    temporary = _temporary(path)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    fsync_folder(os.path.dirname(path))


def remove(path: str) -> bool:
    """Removes a file or link; False if there was none."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    fsync_folder(os.path.dirname(path))
    return True


def _temporary(path: str) -> str:
    """A name beside `path` that nothing has: hidden, so that no `include *.conf` reads it."""
    folder, name = os.path.split(path)
    temporary = "%s/.%s.%d.new" % (folder, name, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    return temporary


def fsync_folder(path: str) -> None:
    """Makes the names in a folder durable: links that were switched, files that were created or removed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
