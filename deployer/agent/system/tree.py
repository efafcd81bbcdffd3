"""Files and folders of releases: links that share no fate, removal of read-only trees.

A tree may belong to the app's user while a hook runs in it, so owners and modes are changed through descriptors that
were opened without following links: nobody can make root change a file outside the tree.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from typing import Callable

_FICLONE = 0x40049409  # linux/fs.h
_CHUNK = 1 << 18
FOLDER = 0o755
READ_ONLY = 0o555
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def digest(path: str) -> str:
    """The sha256 of a file's content, in hex. Raises OSError, also for a symbolic link."""
    seen = hashlib.sha256()
    fd = os.open(path, _OPEN)
    with open(fd, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            seen.update(chunk)
    return seen.hexdigest()


def copy(source: str, target: str, mode: int) -> None:
    """A file of its own with the same content and time: blocks are shared where the file system can (reflink)."""
    with open(os.open(source, _OPEN), "rb") as read, open(target, "xb") as write:
        try:
            fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
        except OSError:
            shutil.copyfileobj(read, write, _CHUNK)
        os.fchmod(write.fileno(), mode)
        write.flush()
        status = os.fstat(read.fileno())
        os.utime(write.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def link(source: str, target: str, mode: int) -> None:
    """A hard link, or a copy where the file system refuses one. `mode` is that of a copy."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        copy(source, target, mode)


def remove(path: str, first: str = "") -> bool:
    """Takes a tree, file or link away, read-only folders included; False if there was none.

    What a link points at stays. Raises OSError where the system refuses; part of the tree may be gone then.

    Args:
        first: a file in the tree that goes before all others, such as the mark that the tree is complete.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path)
        return True
    _each_folder(path, lambda fd: os.fchmod(fd, 0o700))
    if first:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + "/" + first)
    shutil.rmtree(path)
    return True


def give(path: str, uid: int, gid: int) -> None:
    """Gives the whole tree to a user; links themselves, never what they point at. Nothing happens without root."""
    if os.geteuid() == 0:
        for _, _, names, fd in os.fwalk(path, follow_symlinks=False):
            os.fchown(fd, uid, gid)
            for name in names + _links_to_folders(fd):
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)


def take_back(path: str) -> None:
    """Makes the tree the agent's own again, but for what others than its owner may not read: that stays his."""
    if os.geteuid() != 0:
        return
    os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
    for _, _, names, fd in os.fwalk(path, follow_symlinks=False):
        if os.fstat(fd).st_mode & 0o001:
            os.fchown(fd, os.geteuid(), os.getegid())
        for name in names:
            with _opened(name, fd) as file:
                if file is not None and os.fstat(file).st_mode & 0o004:
                    os.fchown(file, os.geteuid(), os.getegid())


def seal(path: str) -> None:
    """Makes every file and folder of the tree read-only; what is executable or private stays so."""
    for _, _, names, fd in os.fwalk(path, follow_symlinks=False):
        for name in names:
            with _opened(name, fd) as file:
                if file is not None:
                    os.fchmod(file, os.fstat(file).st_mode & READ_ONLY)
        os.fchmod(fd, os.fstat(fd).st_mode & READ_ONLY)


def flush(path: str) -> None:
    """Returns when everything on the file system of `path` is on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
        if syncfs is None or syncfs(fd) != 0:
            os.sync()
    finally:
        os.close(fd)


def inside(root: str, path: str) -> bool:
    """Whether `path`, taken literally, is `root` or lies below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def _each_folder(path: str, act: Callable[[int], None]) -> None:
    """`act` on a descriptor of every folder of a tree, parents first.

    Each is opened in the one above it: a part that becomes a link meanwhile leads nowhere.
    """
    fd = os.open(path, _OPEN | os.O_DIRECTORY)
    try:
        _each_below(fd, act)
    finally:
        os.close(fd)


def _each_below(fd: int, act: Callable[[int], None]) -> None:
    act(fd)
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in names:
        try:
            below = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                continue  # it was a folder a moment ago
            raise
        try:
            _each_below(below, act)
        finally:
            os.close(below)


def _links_to_folders(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_symlink() and entry.is_dir()]


@contextlib.contextmanager
def _opened(name: str, folder: int) -> Iterator[int | None]:
    """A descriptor of a regular file; None for anything else."""
    try:
        fd = os.open(name, _OPEN, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EACCES):
            raise
        yield None
        return
    try:
        yield fd if stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)
