"""Where an instance listens: an address and the port of its slot, or a folder with a UNIX socket for each slot.

An `address` that is an absolute path is such a folder, and the socket of the slot 8000 in it is `<folder>/8000.sock`.
"""

from __future__ import annotations

LONGEST = 107
"""Bytes of a UNIX socket's path: `sun_path` of unix(7), without the zero at its end."""


def socket_of(address: str, port: int) -> str:
    """The path of the slot's UNIX socket; empty where it listens at a port."""
    return "%s/%d.sock" % (address, port) if address.startswith("/") else ""


def place(address: str, port: int) -> str:
    """Where that is, as people and configurations write it: `ADDRESS:PORT`, `[IPV6]:PORT`, or the socket's path."""
    return socket_of(address, port) or ("[%s]:%d" if ":" in address else "%s:%d") % (address, port)


def parts(text: str) -> tuple[str, int]:
    """The address and the port that `place` joined."""
    if text.startswith("/"):
        folder, _, name = text.rpartition("/")
        return folder, int(name[: -len(".sock")])
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)
