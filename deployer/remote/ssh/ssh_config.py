"""The user's OpenSSH configuration of a host, read by OpenSSH itself where it is present.

paramiko's reader knows no Include and takes unknown Match criteria for true; it is used only where there is no `ssh`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
from dataclasses import dataclass
from typing import Any

from deployer import local_program
from deployer.errors import InventoryError

_SSH_TIMEOUT_S = 20.0
_HOP = re.compile(r"^(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:]+))(?::(?P<port>\d+))?$")


@dataclass(frozen=True)
class SshConfig:
    """The options that are honoured here. Empty or None: not set. `jumps` is in dialling order."""

    hostname: str
    user: str | None = None
    port: int = 22
    keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    identities_only: bool = False
    agent: str | None = None
    known_hosts: tuple[str, ...] = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
    alias: str | None = None
    jumps: tuple[str, ...] = ()
    proxy_command: str | None = None
    alive_interval: int = 0
    connect_timeout: int | None = None


@dataclass(frozen=True)
class Hop:
    """One station of a ProxyJump: `user@host:port`."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Hop:
        """Read `user@host:port`, `[v6]:port` or `ssh://…`. Raises ValueError."""
        match = _HOP.match(text.strip())
        if not match:
            raise ValueError(f"{text!r} is not user@host:port")
        port = int(match["port"]) if match["port"] else None
        return cls(match["v6"] or match["host"], match["user"], port)


class SshConfigs:
    """Looks hosts up, each combination once. Thread-safe.

    Args:
        path: a configuration file in place of the user's own and the system's.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._known: dict[tuple[str, str | None, int | None], SshConfig] = {}
        self._lock = threading.Lock()

    def lookup(self, host: str, user: str | None = None, port: int | None = None) -> SshConfig:
        """Return the configuration for `ssh -l user -p port host`."""
        key = (host, user, port)
        with self._lock:
            if key in self._known:
                return self._known[key]
        config = self._by_openssh(host, user, port) or self._by_paramiko(host, user, port)
        with self._lock:
            return self._known.setdefault(key, config)

    def _by_openssh(self, host: str, user: str | None, port: int | None) -> SshConfig | None:
        ssh = shutil.which("ssh")
        if not ssh:
            return None
        argv = [ssh, "-G"]
        argv += ["-F", self._path] if self._path else []
        argv += ["-l", user] if user else []
        argv += ["-p", str(port)] if port else []
        done = local_program.run([*argv, "--", host], timeout=_SSH_TIMEOUT_S)
        if done.timed_out:
            raise InventoryError(
                f"ssh did not read its configuration for {host} within {_SSH_TIMEOUT_S:g} s",
                file=self._path or "~/.ssh/config",
                cause="a Match exec there runs a command that does not end",
                hint=f"{shlex.join(argv)} -- {shlex.quote(host)} shows how long it takes",
                code="ssh_config",
            )
        if not done.ok:
            return None
        options: dict[str, list[str]] = {}
        for line in done.stdout.splitlines():
            name, _, value = line.partition(" ")
            options.setdefault(name, []).append(value)
        return _from_options(options, host)

    def _by_paramiko(self, host: str, user: str | None, port: int | None) -> SshConfig:
        from paramiko.config import SSHConfig

        path = os.path.expanduser(self._path or "~/.ssh/config")
        try:
            settings: dict[str, Any] = dict(SSHConfig.from_path(path).lookup(host))
        except Exception:  # no file, or one that it cannot read
            settings = {}
        options = {
            name: list(value) if isinstance(value, list) else [str(value)] for name, value in settings.items() if value
        }
        options["user"] = [user] if user else options.get("user", [])
        options["port"] = [str(port)] if port else options.get("port", [])
        return _from_options(options, host)


def _from_options(options: dict[str, list[str]], host: str) -> SshConfig:
    def one(name: str) -> str | None:
        values = options.get(name) or [""]
        return None if values[0].lower() in ("", "none") else values[0]

    def many(name: str) -> tuple[str, ...]:
        return tuple(word for value in options.get(name, []) for word in value.split() if word.lower() != "none")

    known = many("userknownhostsfile") + many("globalknownhostsfile")
    jump, timeout = one("proxyjump"), one("connecttimeout")
    return SshConfig(
        hostname=one("hostname") or host,
        user=one("user"),
        port=_whole(one("port"), 22) or 22,
        keys=tuple(value for value in options.get("identityfile", []) if value.lower() != "none"),
        certificates=tuple(value for value in options.get("certificatefile", []) if value.lower() != "none"),
        identities_only=one("identitiesonly") == "yes",
        agent=one("identityagent"),
        known_hosts=known or SshConfig.known_hosts,
        alias=one("hostkeyalias"),
        jumps=tuple(jump.split(",")) if jump else (),
        proxy_command=one("proxycommand"),
        alive_interval=_whole(one("serveraliveinterval"), 0) or 0,
        connect_timeout=_whole(timeout, None),
    )


def _whole(text: str | None, default: int | None) -> int | None:
    """Return the number that OpenSSH prints; the default for what is not one, as a file read without OpenSSH
    may have."""
    return int(text) if text and text.isdecimal() and text.isascii() else default
