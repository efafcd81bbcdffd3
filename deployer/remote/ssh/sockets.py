"""TCP sockets that do not wait: no Nagle, and no delayed acknowledgements of what the host sends."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import Any

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux alone has it


class QuickSocket(socket.socket):
    """A TCP socket that acknowledges at once. (A delayed acknowledgement costs the first channel open 40 ms.)"""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """As `socket.recv`; the option does not last, so it is set for every read."""
        if _QUICKACK is not None:
            self.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        return super().recv(size, flags)


def dial(hostname: str, port: int, timeout: float) -> QuickSocket:
    """Connect to the first address of `hostname` that answers, within `timeout` seconds for all of them together.

    Raises OSError: socket.gaierror, ConnectionRefusedError, TimeoutError …
    """
    last: OSError = TimeoutError("no time")
    ends = time.monotonic() + timeout
    addresses = socket.getaddrinfo(hostname, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        made = QuickSocket(family, kind, protocol)
        share = max(0.1, (ends - time.monotonic()) / (len(addresses) - number))
        try:
            made.settimeout(share)
            made.connect(address)
            _tune(made)
            return made
        except OSError as error:
            made.close()
            last = error
    raise last


def _tune(made: socket.socket) -> None:
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def through_command(command: str) -> tuple[socket.socket, subprocess.Popen[Any]]:
    """Return a socket to a `ProxyCommand`, and its process, which ends when the socket is closed."""
    own_end, process_end = socket.socketpair()
    with process_end:
        fd, argv = process_end.fileno(), ["sh", "-c", "exec " + command]
        process = subprocess.Popen(argv, stdin=fd, stdout=fd, start_new_session=True)
    return own_end, process
