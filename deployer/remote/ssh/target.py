"""A station to connect to, a host or a gateway before it, with everything settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployer.agent.model.endpoints import place
from deployer.remote.ssh.known_hosts import host_names
from deployer.remote.ssh.ssh_config import SshConfig


@dataclass(frozen=True)
class Target:
    """One station to connect to, with everything settled. `via` is the station before it.

    `command` is a ProxyCommand that gives the connection instead, complete. `timeout` in seconds.
    """

    name: str
    hostname: str
    port: int
    user: str
    named_keys: tuple[str, ...]
    config: SshConfig
    timeout: float
    known_hosts: tuple[str, ...] = ()
    via: Target | None = None
    command: str | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two stations the same, for sharing gateways."""
        return (self.hostname, self.port, self.user, self.via.key if self.via else None)

    @property
    def jump(self) -> str:
        """The stations before it, as ssh's option -J has them: `me@gate:22,me@inner:22`; empty for none."""
        if self.via is None:
            return ""
        own = f"{self.via.user}@{place(self.via.hostname, self.via.port)}"
        return f"{self.via.jump},{own}" if self.via.jump else own

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which its host key may be known."""
        return host_names(self.hostname, self.port, self.config.alias)
