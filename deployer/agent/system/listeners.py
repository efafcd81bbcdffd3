"""UNIX sockets at which programs are to answer: whether one does."""

from __future__ import annotations

import errno
import socket

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED)


def is_absent(path: str) -> bool:
    """Whether nobody listens at a UNIX socket. One that this user may not ask, or that is busy, is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        try:
            client.connect(path)
        except OSError as error:
            return error.errno in _ABSENT
    return False
