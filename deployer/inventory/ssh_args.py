"""Arguments of the ssh command in inventories, as far as they mean something to connections made without it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace

from deployer.inventory.names import is_ipv6

# Multiplexing, compression and keepalives change how fast ssh is, not where or as whom it connects.
_WITHOUT_MEANING = {
    "controlmaster", "controlpath", "controlpersist", "compression", "serveraliveinterval", "serveralivecountmax",
    "tcpkeepalive", "loglevel", "preferredauthentications", "batchmode", "identitiesonly", "passwordauthentication",
    "pubkeyauthentication", "gssapiauthentication", "connectionattempts", "addressfamily",
}  # fmt: skip
_FLAGS_WITHOUT_MEANING = {"-C", "-q", "-4", "-6", "-T", "-n", "-v"}
_UNCHECKED = {"no", "off", "accept-new", "ask"}
_JUMP = re.compile(r"(?:ssh://)?([A-Za-z0-9._-]+@)?(\[[^\[\]]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(:\d{1,5})?")


@dataclass(frozen=True)
class SshArgs:
    """What ssh arguments say; None and () mean: nothing. `connect_timeout` is in seconds."""

    gateway: str | None = None
    proxy_command: str | None = None
    keys: tuple[str, ...] = ()
    known_hosts: tuple[str, ...] = ()
    user: str | None = None
    port: int | None = None
    connect_timeout: float | None = None


def read_ssh_args(text: str) -> SshArgs:
    """Return the meaning of `text`, quoted as for a shell.

    Raises: ValueError that names an argument whose meaning would be lost.
    """
    words = shlex.split(text)
    ssh_args = SshArgs()
    while words:
        word = words.pop(0)
        if word in _FLAGS_WITHOUT_MEANING:
            continue
        flag, value = word[:2], word[2:]
        if flag not in ("-o", "-J", "-i", "-l", "-p", "-W"):
            raise ValueError(f"the ssh argument {word} is not supported")
        if not value and not words:
            raise ValueError(f"the ssh argument {flag} has no value")
        value = value or words.pop(0)
        ssh_args = _option(ssh_args, value) if flag == "-o" else _flag(ssh_args, flag, value)
    return ssh_args


def _flag(ssh_args: SshArgs, flag: str, value: str) -> SshArgs:
    keys = {"-J": "ProxyJump", "-i": "IdentityFile", "-l": "User", "-p": "Port"}
    if flag not in keys:
        raise ValueError(f"the ssh argument {flag} is not supported")
    return _option(ssh_args, f"{keys[flag]}={value}")


def _option(ssh_args: SshArgs, text: str) -> SshArgs:
    name, _, value = re.sub(r"^\s*(\w+)\s*[= ]\s*", r"\1=", text).partition("=")
    key, value = name.lower(), value.strip().strip('"')
    if key in _WITHOUT_MEANING:
        return ssh_args
    if key == "proxyjump":
        return ssh_args if value == "none" else replace(ssh_args, gateway=_chain(value))
    if key == "proxycommand":
        return ssh_args if value == "none" else _proxy_command(ssh_args, value)
    if key == "identityfile":
        return replace(ssh_args, keys=(*ssh_args.keys, value))
    if key == "userknownhostsfile":
        return _known_hosts(ssh_args, value)
    if key == "stricthostkeychecking":
        return _strict(ssh_args, value)
    if key == "user":
        return replace(ssh_args, user=value)
    if key in ("port", "connecttimeout"):
        return _number(ssh_args, name, value)
    raise ValueError(f"the ssh option {name} is not supported")


def _number(ssh_args: SshArgs, name: str, value: str) -> SshArgs:
    if not value.isdecimal():
        raise ValueError(f"the ssh option {name} must be a number")
    if name.lower() == "port":
        return replace(ssh_args, port=int(value))
    return replace(ssh_args, connect_timeout=float(value))


def _strict(ssh_args: SshArgs, value: str) -> SshArgs:
    if value.lower() in _UNCHECKED:
        raise ValueError(
            f"the ssh option StrictHostKeyChecking={value} is not accepted: host keys are always checked "
            "(remove it, and run deploy trust {env} once)"
        )
    return ssh_args


def _known_hosts(ssh_args: SshArgs, value: str) -> SshArgs:
    files = tuple(value.split())
    if "/dev/null" in files or "none" in files:
        raise ValueError(
            f"the ssh option UserKnownHostsFile={value} is not accepted: host keys are always checked "
            "(remove it, and run deploy trust {env} once)"
        )
    return replace(ssh_args, known_hosts=(*ssh_args.known_hosts, *files))


def _chain(value: str) -> str:
    hops = [hop.strip() for hop in value.split(",")]
    for hop in hops:
        if not _is_jump(hop):
            raise ValueError(
                f"the ProxyJump host {hop!r} is not understood: write user@host:port, with IPv6 user@[::1]:port"
            )
    return ",".join(hops)


def _proxy_command(ssh_args: SshArgs, command: str) -> SshArgs:
    """`ssh -W %h:%p [-p PORT] [-l USER] [-q] HOST` is a gateway; anything else stays a command."""
    gateway = _gateway_of(command)
    return replace(ssh_args, gateway=gateway) if gateway else replace(ssh_args, proxy_command=command)


def _gateway_of(command: str) -> str | None:
    words = shlex.split(command)
    if not words or words.pop(0) not in ("ssh", "/usr/bin/ssh"):
        return None
    host, user, port, forwards = None, None, None, False
    while words:
        word = words.pop(0)
        if word in _FLAGS_WITHOUT_MEANING:
            continue
        if word in ("-W", "-p", "-l") and words:
            value = words.pop(0)
            forwards = forwards or (word == "-W" and value in ("%h:%p", "[%h]:%p"))
            user, port = (value if word == "-l" else user), (value if word == "-p" else port)
        elif word.startswith("-") or host is not None:
            return None
        else:
            host = word
    if not forwards or host is None or (user and "@" in host):
        return None
    hop = (f"{user}@" if user else "") + host + (f":{port}" if port else "")
    return hop if _is_jump(hop) else None


def _is_jump(hop: str) -> bool:
    match = _JUMP.fullmatch(hop)
    return bool(match and (not match[2].startswith("[") or is_ipv6(match[2][1:-1])))
