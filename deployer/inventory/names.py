"""Names of hosts as inventories write them."""

from __future__ import annotations

import ipaddress
import re

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.%]+)\](?::(\d+))?")


def host_and_port(written: str) -> tuple[str, int | None]:
    """`web1`, `web1:2222` or `[2001:db8::1]:22` → name and port (None: not said). ValueError for anything else.

    A name never begins with a dash, so that it cannot be taken for an option of a command.
    """
    bracketed = _BRACKETED.fullmatch(written)
    if bracketed:
        name, port = bracketed[1], bracketed[2]
    elif written.count(":") == 1:
        name, _, port = written.partition(":")
    else:
        name, port = written, None
    if not is_host(name):
        raise ValueError(f"{written!r} is no host name: letters, digits, dots and dashes")
    if port is None:
        return name, None
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{written!r} has no valid port after its colon")
    return name, int(port)


def is_host(text: str) -> bool:
    """Whether `text` can be a host's name or address."""
    if _PLAIN.fullmatch(text):
        return True
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
