"""What a host's file system refuses, in words for a person: no room, read-only, something in the way, no permission."""

from __future__ import annotations

import errno
import os
import shlex
import stat

from deployer.agent.operation import OpError

FULL = (errno.ENOSPC, errno.EDQUOT)
_BLOCKED = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
# A mount point in the way, a program that is being run, or a network file system that is gone.
_UNAVAILABLE = (
    errno.EBUSY,
    errno.ETXTBSY,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ENODEV,
    errno.EHOSTDOWN,
    errno.ETIMEDOUT,
    errno.EREMOTEIO,
)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)
_FEW_INODES = 16  # so few that the next file may find none


def explain(error: OSError, what: str, path: str = "") -> OpError | None:
    """The error to report for an OSError that is about the host's file system; None for any other.

    Args:
        what: what could not be done, such as `release.build`.
        path: a path on that file system, where the error names none.
    """
    named = error.filename if isinstance(error.filename, str) else ""
    place = os.path.abspath(named if named[:1] == "/" or not path else path)
    if error.errno in FULL:
        hint = "deploy exec {env} -l {host} -- df -h -i %s shows what is left; make room, then deploy {command} {env}"
        message = f"{shortage(place, error.errno)}, so {what} could not do its work"
        return OpError("no_space", message, hint % shlex.quote(_existing(place)))
    if error.errno == errno.EROFS:
        hint = "deploy exec {env} -l {host} -- dmesg shows why it became so; mend that, then deploy {command} {env}"
        return OpError("read_only", f"{place} is on a read-only file system, so {what} could not do its work", hint)
    if error.errno == errno.EIO:
        hint = "deploy exec {env} -l {host} -- dmesg shows whether the disk is failing"
        return OpError("disk_error", f"{place} cannot be read or written ({error.strerror})", hint)
    if error.errno in _BLOCKED and named:
        return blocked(named if named[:1] != "/" else place, what)
    if error.errno in _FORBIDDEN and named:
        message = f"this user may not use {place} ({error.strerror}), so {what} could not do its work"
        hint = "deploy exec {env} -l {host} -- ls -ld %s shows who may; mend that, then deploy {command} {env}"
        return OpError("not_permitted", message, hint % shlex.quote(place))
    if error.errno in _UNAVAILABLE and named:
        message = f"{place} cannot be used ({error.strerror}), so {what} could not do its work"
        hint = "deploy exec {env} -l {host} -- findmnt -T %s shows what is mounted there"
        return OpError("path_blocked", message, hint % shlex.quote(place) + "; mend that, then deploy {command} {env}")
    if error.errno == errno.ENAMETOOLONG:
        return OpError("invalid", f"the path {named[:300]} is too long, so {what} could not do its work")
    return None


def blocked(path: str, what: str) -> OpError:
    """The error for a path of which a part is something else than `what`, such as `resource.apply`, needs there."""
    spot = obstacle(path)
    message = f"{spot} is {describe(spot)}, so {what} could not do its work"
    return OpError("path_blocked", message, hint_for(spot))


def hint_for(spot: str) -> str:
    """What a person types about a path that is in the way."""
    shows = f"deploy exec {{env}} -l {{host}} -- ls -ld {shlex.quote(spot)} shows it"
    return shows + "; move it away, then deploy {command} {env}"


def obstacle(path: str) -> str:
    """The first part of `path` that is there and no folder; `path` itself where all of them are folders."""
    parts = path.split("/")
    for end in range(2, len(parts)):
        above = "/".join(parts[:end])
        if os.path.lexists(above) and not os.path.isdir(above):
            return above
    return path


def describe(path: str) -> str:
    """What is at `path`: `a file`, `a link to /mnt/media, where nothing is`, and so on."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return "missing"
    if not stat.S_ISLNK(mode):
        return next((name for fits, name in _KINDS if fits(mode)), "something else")
    target = os.readlink(path)
    try:
        behind = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return f"a link to {target}, which leads back to itself"
        return f"a link to {target}, where nothing is"
    return "a link to {}, which is {}".format(
        target, next((name for fits, name in _KINDS if fits(behind)), "something")
    )


def shortage(path: str, number: int = errno.ENOSPC) -> str:
    """`the disk is full: 12 MB are left on PATH`, or which other limit was met there."""
    place = _existing(path)
    if number == errno.EDQUOT:
        return f"the disk quota is used up on {place}"
    disk = os.statvfs(place)
    free = "%.0f MB" % (disk.f_bavail * disk.f_frsize / 1e6)
    if disk.f_files and disk.f_favail < _FEW_INODES:
        return f"no inodes are left on {place}, although {free} are free"
    return f"the disk is full: {free} are left on {place}"


def _existing(path: str) -> str:
    while path != "/" and not os.path.exists(path):
        path = os.path.dirname(path)
    return path
