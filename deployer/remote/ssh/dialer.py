"""Connects to hosts over whatever gateways it takes, sharing keys, known hosts and gateways among them."""

from __future__ import annotations

import getpass
import re
import shlex
import threading
from dataclasses import dataclass, field, replace
from typing import Any

from deployer.errors import InventoryError
from deployer.inventory.model import Host, SshOptions
from deployer.remote.ssh.authentication import Keyring, Offers
from deployer.remote.ssh.connection import Connection
from deployer.remote.ssh.known_hosts import KnownHosts
from deployer.remote.ssh.ssh_config import Hop, SshConfig, SshConfigs
from deployer.remote.ssh.target import Target

_DEEPEST = 8  # hops of a ProxyJump chain


@dataclass
class Dialer:
    """Connects to hosts, and holds what their connections share: keys, known hosts, gateways. Thread-safe.

    Args:
        user: who logs in, whatever the hosts' own settings say (`-u`).
        config_file: an SSH configuration file in place of the user's.
        known_hosts_files: known_hosts files beside the user's and the hosts' own.
    """

    user: str | None = None
    config_file: str | None = None
    known_hosts_files: tuple[str, ...] = ()
    _keyring: Keyring = field(default_factory=Keyring)
    _known: dict[tuple[str, ...], KnownHosts] = field(default_factory=dict)
    _gateways: dict[tuple[Any, ...], Connection] = field(default_factory=dict)
    _opening: dict[tuple[Any, ...], threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._configs = SshConfigs(self.config_file)

    def connect(self, host: Host) -> Connection:
        """Return an open connection to `host`.

        Raises UnreachableError, UntrustedHostError, InventoryError (a bad gateway).
        """
        connection = Connection(self.target(host), self)
        connection.open()
        return connection

    def close(self) -> None:
        """Close the gateways."""
        with self._lock:
            gateways, self._gateways = list(self._gateways.values()), {}
        for gateway in reversed(gateways):
            gateway.close()

    def target(self, host: Host) -> Target:
        """Return where and how `host` is reached."""
        ssh = host.ssh
        config = self._configs.lookup(ssh.hostname, self.user or ssh.user, ssh.port)
        chain = tuple(ssh.gateway.split(",")) if ssh.gateway else config.jumps
        via = self._chain(host.name, chain, ssh, 0)
        return self._target(host.name, ssh, config, self.user or ssh.user, via)

    def offers(self, target: Target) -> Offers:
        """Return the keys to offer to a target."""
        config = target.config
        return Offers(target.user, target.named_keys, config.keys, config.identities_only, config.agent, self._keyring)

    def known_hosts(self, target: Target) -> KnownHosts:
        """Return the host keys that count for a target."""
        paths = (*target.config.known_hosts, *target.known_hosts, *self.known_hosts_files)
        with self._lock:
            known = self._known.get(paths)
            if known is None:
                known = self._known[paths] = KnownHosts.read(paths)
            return known

    def gateway(self, target: Target) -> Connection:
        """Return the one open connection to a gateway; the first caller opens it, the others wait."""
        with self._lock:
            opening = self._opening.setdefault(target.key, threading.Lock())
        with opening:
            connection = self._gateways.get(target.key)
            if connection is None or not connection.is_connected:
                connection = Connection(target, self)
                connection.open()
                self._gateways[target.key] = connection
            return connection

    def _chain(self, name: str, hops: tuple[str, ...], ssh: SshOptions, depth: int) -> Target | None:
        """Return the last station before the host. The first may have a chain of its own in the configuration."""
        if depth > _DEEPEST:
            raise InventoryError(
                "the chain of gateways does not end", host=name, hint="look at ProxyJump in ~/.ssh/config"
            )
        via: Target | None = None
        for number, text in enumerate(hops):
            try:
                hop = Hop.parse(text)
            except ValueError as error:
                raise InventoryError(f"the gateway {error}", host=name) from None
            config = self._configs.lookup(hop.host, hop.user, hop.port)
            if number == 0:
                via = self._chain(name, config.jumps, ssh, depth + 1)
            options = replace(ssh, hostname=hop.host, user=hop.user, port=hop.port, gateway=None, proxy_command=None)
            via = self._target(f"{name} (gateway {hop.host})", options, config, hop.user, via)
        return via

    def _target(self, name: str, ssh: SshOptions, config: SshConfig, user: str | None, via: Target | None) -> Target:
        user = user or config.user or getpass.getuser()
        port = ssh.port or config.port
        command = ssh.proxy_command or config.proxy_command
        return Target(
            name=name,
            hostname=config.hostname,
            port=port,
            user=user,
            named_keys=ssh.keys,
            config=config,
            timeout=ssh.connect_timeout_s,
            known_hosts=ssh.known_hosts,
            via=via,
            command=None if via or not command else _complete(command, config.hostname, port, user),
        )


def _complete(command: str, hostname: str, port: int, user: str) -> str:
    """Return a ProxyCommand with its tokens replaced (ssh_config(5), TOKENS)."""
    values = {"h": hostname, "p": str(port), "r": user, "n": hostname}
    expanded = re.sub(r"%([hprn])", lambda match: shlex.quote(values[match[1]]), command.replace("%%", "\0"))
    return expanded.replace("\0", "%")


def connect(host: Host, *, user: str | None = None, dialer: Dialer | None = None) -> Connection:
    """Return an open connection to one host; for many, share a `Dialer`. `user` overrides the inventory's.

    Raises UnreachableError, UntrustedHostError.
    """
    return (dialer or Dialer(user=user)).connect(host)
