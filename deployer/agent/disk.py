"""What a host's file system refuses, in words for a person: no room, no inodes, read-only, broken."""

from __future__ import annotations

import errno
import os
from typing import Optional

from deployer.agent.operation import OpError

FULL = (errno.ENOSPC, errno.EDQUOT)
_FEW_INODES = 16  # so few that the next file may find none


def explain(error: OSError, what: str, path: str = "") -> Optional[OpError]:
    """The error to report for an OSError that is about the host's file system; None for any other.

    Args:
        what: what could not be done, such as `release.build`.
        path: a path on that file system, where the error names none.
    """
    place = os.path.abspath(error.filename if isinstance(error.filename, str) and error.filename[:1] == "/" else path)
    if error.errno in FULL:
        hint = "make room on that host (df -h and df -i show where), then run the same command again"
        return OpError("no_space", "%s, so %s could not do its work" % (shortage(place, error.errno), what), hint)
    if error.errno == errno.EROFS:
        hint = "dmesg on that host shows why it became so; make it writable, then run the same command again"
        return OpError(
            "read_only", "%s is on a read-only file system, so %s could not do its work" % (place, what), hint
        )
    if error.errno == errno.EIO:
        hint = "look at dmesg on that host: the disk may be failing"
        return OpError("disk_error", "%s cannot be read or written (%s)" % (place, error.strerror), hint)
    return None


def shortage(path: str, number: int = errno.ENOSPC) -> str:
    """`the disk is full: 12 MB are left on PATH`, or which other limit was met there."""
    place = _existing(path)
    if number == errno.EDQUOT:
        return "the disk quota is used up on %s" % place
    disk = os.statvfs(place)
    free = "%.0f MB" % (disk.f_bavail * disk.f_frsize / 1e6)
    if disk.f_files and disk.f_favail < _FEW_INODES:
        return "no inodes are left on %s, although %s are free" % (place, free)
    return "the disk is full: %s are left on %s" % (free, place)


def _existing(path: str) -> str:
    while path != "/" and not os.path.exists(path):
        path = os.path.dirname(path)
    return path
