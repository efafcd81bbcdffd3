"""The folders below `shared/`, which the app's user owns and may turn into anything: no link there is ever followed."""

from __future__ import annotations

import errno
import os
import stat
from typing import List, Tuple

from deployer.agent.operation import OpError

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folders(root: str, path: str, owner: Tuple[int, int]) -> List[str]:
    """Makes the folders of `path` below `root` for the app's user; what exists is left as it is.

    A link that leads somewhere is left too, and nothing is made behind it. A link of the app's own that leads nowhere
    gives way to a folder: the app cannot keep its next release away by one.

    Args:
        owner: uid and gid of the app's user.

    Returns:
        What a person should know, a line each.

    Raises:
        OpError `invalid`: a file, or somebody else's link that leads nowhere, is in the way.
    """
    lines: List[str] = []
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        shown = root
        for part in [part for part in path.split("/") if part]:
            shown += "/" + part
            if _is_link(folder, part) and not _make_way(folder, part, shown, owner, lines):
                break
            below = _folder(folder, part, shown, owner)
            os.close(folder)
            folder = below
    finally:
        os.close(folder)
    return lines


def _is_link(folder: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode)
    except FileNotFoundError:
        return False


def _make_way(folder: int, name: str, shown: str, owner: Tuple[int, int], lines: List[str]) -> bool:
    """Removes a dangling link of the app's own; False where the link stays."""
    if os.path.exists(shown):
        return False
    target = os.readlink(name, dir_fd=folder)
    mine = os.lstat(name, dir_fd=folder).st_uid == owner[0]
    if not mine or os.geteuid() != 0:
        raise OpError(
            "invalid",
            "%s is a link to %s, and there is nothing" % (shown, target),
            "mount or make what it leads to, or remove the link on that host; then push again",
        )
    os.unlink(name, dir_fd=folder)
    lines.append("%s was a link to %s, where nothing is: the app gets a folder in its place" % (shown, target))
    return True


def _folder(folder: int, name: str, shown: str, owner: Tuple[int, int]) -> int:
    """A descriptor of the folder `name`, which is made where it is missing."""
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
        made = True
    except FileExistsError:
        made = False
    try:
        below = os.open(name, _OPEN, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise OpError(
            "invalid",
            "%s is not a folder, and shared: in deploy.yaml needs one there" % shown,
            "move it out of the way on that host, then push again",
        ) from None
    if made and os.geteuid() == 0:
        os.fchown(below, owner[0], owner[1])
    return below
