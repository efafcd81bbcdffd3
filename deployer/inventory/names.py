"""Names of hosts as inventories write them."""

from __future__ import annotations

import ipaddress
import re

from deployer.inventory.ranges import expand

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(\d+))?")


def expanded_hosts(written: str) -> list[tuple[str, int | None]]:
    """Return the names and ports that one entry of an inventory stands for: a range is expanded, an IPv6 address is not
    one.

    Raises: ValueError for a malformed range, name or port.
    """
    bracketed = _BRACKETED.fullmatch(written)
    if is_ipv6(written) or (bracketed and is_ipv6(bracketed[1])):
        return [host_and_port(written)]
    if "[" in written and "::" in written:
        raise ValueError(f"{written!r} is neither a range nor an IPv6 address: write web[1:3], ::1 or [::1]:2222")
    return [host_and_port(name) for name in expand(written)]


def host_and_port(written: str) -> tuple[str, int | None]:
    """`web1`, `web1:2222`, `::1` or `[2001:db8::1]:22` → name and port (None: not written).

    A name never begins with a dash, so that it cannot be taken for an option of a command.

    Raises: ValueError for anything else.
    """
    bracketed = _BRACKETED.fullmatch(written)
    if bracketed:
        name, port = bracketed[1], bracketed[2]
    elif written.count(":") == 1:
        name, _, port = written.partition(":")
    else:
        name, port = written, None
    if not is_host(name) or (bracketed and not is_ipv6(name)):
        raise ValueError(f"{written!r} is not a host name: letters, digits, dots and dashes, or an IP address")
    if port is None:
        return name, None
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{written!r} has no valid port after its colon")
    return name, int(port)


def is_host(text: str) -> bool:
    """Return whether `text` can be a host's name or address."""
    return bool(_PLAIN.fullmatch(text)) or is_ipv6(text)


def is_ipv6(text: str) -> bool:
    """Return whether `text` is an IPv6 address without brackets. It may have a zone: `fe80::1%eth0`."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return address.scope_id is None or bool(_PLAIN.fullmatch(address.scope_id))


def usual_form(address: str) -> str:
    """Return an IP address as programs write it: IPv6 short and in lower case, an IPv4-mapped one as IPv4.
    Names stay."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def why_unreachable(address: str) -> str:
    """Return why an IP address cannot be connected to, as the end of a sentence; empty for any other address and for
    names."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.is_unspecified:
        return "stands for every address of a host, not for one"
    if parsed.version == 6 and parsed.is_link_local and parsed.scope_id is None:
        return f"is link-local, so it needs the interface of this machine: {address}%eth0"
    return ""
