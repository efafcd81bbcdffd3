"""The folders below `shared/`, which the app's user owns and may turn into anything: no link there is ever followed."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat

from deployer.agent.operation import OpError
from deployer.agent.system import disk
from deployer.agent.system.trusted_path import is_link

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folders(root: str, path: str, owner: tuple[int, int]) -> list[str]:
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
    lines: list[str] = []
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        shown = root
        for part in [part for part in path.split("/") if part]:
            shown += "/" + part
            if is_link(folder, part) and not _make_way(folder, part, shown, owner, lines):
                break
            below = _folder(folder, part, shown, owner)
            os.close(folder)
            folder = below
    finally:
        os.close(folder)
    return lines


def is_empty(root: str, path: str) -> bool:
    """Whether nothing is at `path` below `root`, or an empty folder. A link counts as something."""
    try:
        folder, name = _open_parent(root, path)
    except OSError as error:
        return error.errno == errno.ENOENT
    try:
        mode = os.lstat(name, dir_fd=folder).st_mode
        if not stat.S_ISDIR(mode):
            return False
        subfolder = os.open(name, _OPEN, dir_fd=folder)
        try:
            return not os.listdir(subfolder)
        finally:
            os.close(subfolder)
    except FileNotFoundError:
        return True
    finally:
        os.close(folder)


def copy_file(root: str, path: str, source: str, mode: int, owner: tuple[int, int]) -> None:
    """Copies `source` to `path` below `root`, for the app's user; what is there is left as it is.

    Raises:
        OpError `invalid`: a file or a link is in the way of its folder.
    """
    make_folders(root, os.path.dirname(path), owner)
    try:
        folder, name = _open_parent(root, path)
    except OSError:  # a link that leads somewhere is left, and nothing is made behind it
        return
    try:
        descriptor = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        with os.fdopen(descriptor, "wb") as target, open(source, "rb") as content:
            shutil.copyfileobj(content, target)
            if os.geteuid() == 0:
                os.fchown(target.fileno(), owner[0], owner[1])
            os.fchmod(target.fileno(), mode)
    except FileExistsError:
        pass
    finally:
        os.close(folder)


def _open_parent(root: str, path: str) -> tuple[int, str]:
    """A descriptor of the folder that `path` lies in, no link followed below `root`, and its last part."""
    *parts, name = [part for part in path.split("/") if part]
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            below = os.open(part, _OPEN, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder, name


def _make_way(folder: int, name: str, shown: str, owner: tuple[int, int], lines: list[str]) -> bool:
    """Removes a dangling link of the app's own; False where the link stays."""
    if os.path.isdir(shown):
        return False
    if os.path.exists(shown):
        raise _not_a_folder(shown)
    target = os.readlink(name, dir_fd=folder)
    is_owned = os.lstat(name, dir_fd=folder).st_uid == owner[0]
    if not is_owned or os.geteuid() != 0:
        raise OpError(
            "invalid",
            f"{shown} is a link to {target}, and there is nothing",
            f"deploy exec {{env}} -l {{host}} -- ls -ld {shlex.quote(shown)} shows it; mount or make what "
            "it leads to, or remove it, then "
            "deploy push {env}",
        )
    os.unlink(name, dir_fd=folder)
    lines.append(f"{shown} was a link to {target}, where nothing is: the app gets a folder in its place")
    return True


def _folder(folder: int, name: str, shown: str, owner: tuple[int, int]) -> int:
    """A descriptor of the folder `name`, which is made where it is missing."""
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
        is_new = True
    except FileExistsError:
        is_new = False
    try:
        below = os.open(name, _OPEN, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise _not_a_folder(shown) from None
    if is_new and os.geteuid() == 0:
        os.fchown(below, owner[0], owner[1])
    return below


def _not_a_folder(shown: str) -> OpError:
    why = f"{shown} is {disk.describe(shown)}, and shared: in deploy.yaml needs a folder there"
    return OpError("invalid", why, disk.hint_for(shown))
