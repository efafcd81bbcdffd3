"""Hosts as the inventory describes them: names, groups, variables, and how SSH reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SshOptions:
    """How to reach a host: what the inventory says, completed by the user's `~/.ssh/config` when connecting.

    None or empty means: not set here. `port` 1–65535; `keys` are private key files; `known_hosts` are files beside
    the user's own; `gateway` is another host's address (`user@host:port`) or a ProxyJump chain in dialling order;
    `proxy_command` is a ProxyCommand that is no such gateway, with `%h`, `%p` and `%r` still in it.
    """

    hostname: str
    user: str | None = None
    port: int | None = None
    keys: tuple[str, ...] = ()
    known_hosts: tuple[str, ...] = ()
    gateway: str | None = None
    proxy_command: str | None = None
    connect_timeout_s: float = 10.0


@dataclass(frozen=True)
class Host:
    """One machine of an environment.

    `name` is the inventory name, `groups` every group it belongs to (`all` included), `variables` its merged
    variables but for passwords; among them `deploy[<app>]` (address, port, instances, workers, env), still unchecked.
    `prefix` (variable `deploy_prefix`) is the folder that stands for `/` in a lab of processes, else "".
    `become`: reach root by sudo; None: only if the SSH user is not root and the host needs it.
    """

    name: str
    ssh: SshOptions
    groups: frozenset[str] = frozenset()
    variables: Mapping[str, Any] = field(default_factory=dict)
    python: str = "python3"
    prefix: str = ""
    become: bool | None = None
    become_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Inventory:
    """All hosts of one environment, in the order of the file. `source` is the path that was read."""

    env: str
    source: str
    hosts: tuple[Host, ...]
    groups: Mapping[str, tuple[str, ...]]

    def __getitem__(self, name: str) -> Host:
        """The host of that inventory name; KeyError if there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)
