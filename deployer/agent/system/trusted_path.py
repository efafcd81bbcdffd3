"""A path whose folder is held open, with no link followed that somebody else could have put there.

Root that opens `/srv/shop/shared/media/up` by its name follows what the app has put in place of `media` meanwhile. So
the path is walked part by part, each opened in the folder before it, and a link counts only in a folder that nobody but
root and this user can write. What is done at the result is done in the folder that was looked at.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from deployer.agent.operation import OpError

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 40  # as many as the kernel follows (path_resolution(7))


@contextlib.contextmanager
def held(path: str, *, make: bool = False) -> Iterator[str]:
    """Another name for `path` that stays true for the block: its folder is open, its last part is not looked at.

    Args:
        path: absolute. A slash at its end is ignored: it would have a link followed.
        make: whether missing folders above it are made, with mode 0755.

    Raises:
        OpError `untrusted_link`: a part is a link in a folder that others may write. OSError: a part is missing, or no
        folder.
    """
    folder, _, name = os.path.normpath(path).rpartition("/")
    descriptor = _walk(folder, make)
    try:
        yield "/proc/self/fd/%d/%s" % (descriptor, name)
    finally:
        os.close(descriptor)


def _walk(path: str, make: bool) -> int:
    """A descriptor of a folder. After a link the walk begins anew at `/`, as everything before it was no link."""
    parts, walked, links, is_trusted = _parts(path), "", 0, True
    descriptor = os.open("/", _OPEN)
    try:
        while parts:
            part = parts.pop(0)
            is_trusted = is_trusted and _is_safe(descriptor, part)
            if is_link(descriptor, part):
                if links == _LINKS or not is_trusted:
                    raise _untrusted(f"{walked}/{part}")
                links += 1
                target = os.readlink(part, dir_fd=descriptor)
                parts = _parts(os.path.normpath(os.path.join(walked + "/", target))) + parts
                walked, is_trusted, below = "", True, os.open("/", _OPEN)
            else:
                below = _below(descriptor, part, make)
                walked = f"{walked}/{part}"
            os.close(descriptor)
            descriptor = below
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _is_safe(folder: int, name: str) -> bool:
    """Whether only root and this user can have put that into a folder, and can put something else in its place."""
    status, trusted = os.fstat(folder), (0, os.geteuid())
    if status.st_uid not in trusted:
        return False
    if not status.st_mode & 0o022:
        return True
    try:
        return bool(status.st_mode & stat.S_ISVTX) and os.lstat(name, dir_fd=folder).st_uid in trusted  # as in /tmp
    except FileNotFoundError:
        return False


def is_link(folder: int, name: str) -> bool:
    """Whether that is a symbolic link in an open folder; what is missing is none."""
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode)
    except FileNotFoundError:
        return False


def _below(folder: int, name: str, make: bool) -> int:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=folder)
    return os.open(name, _OPEN, dir_fd=folder)


def _untrusted(link: str) -> OpError:
    return OpError(
        "untrusted_link",
        f"{link} is a link in a folder that others than root may write",
        "deploy exec {env} -l {host} -- ls -ld %s shows it: remove it, or put it where only root may write" % link,
    )
