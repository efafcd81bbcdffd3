"""Loopback addresses for the hosts of a lab: 127.x.y.n, with x.y its own."""

from __future__ import annotations

import socket

from deployer.errors import NotReadyError
from deployer.lab.place import Place

SSH_PORT = 2222
BALANCER_PORT = 8080
BALANCER_TLS_PORT = 8443


def free_range(place: Place, count: int) -> list[str]:
    """`count` addresses on which nothing listens at the ports we need; the same for the same lab if they are free."""
    first = int(place.tag, 16)
    for attempt in range(256):
        number = (first + attempt) % (200 * 256)
        addresses = [f"127.{number // 256 + 50}.{number % 256}.{host}" for host in range(1, count + 1)]
        if all(_free(address, port) for address in addresses for port in (SSH_PORT, BALANCER_PORT, BALANCER_TLS_PORT)):
            return addresses
    raise NotReadyError("no range of loopback addresses is free", hint="deploy lab status; deploy lab down")


def _free(address: str, port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen()
        except OSError:
            return False
    return True
