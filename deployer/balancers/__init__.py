"""Balancers: what stands before the instances. `get` finds one by the name that `balancer.kind` gives."""

from __future__ import annotations

from importlib.metadata import entry_points

from deployer.balancers.base import Balancer, Https, Pool, Server, server_name
from deployer.balancers.caddy import Caddy
from deployer.balancers.command import Command
from deployer.balancers.haproxy import HAProxy
from deployer.balancers.nginx import Nginx
from deployer.errors import SettingsError

__all__ = ["ENTRY_POINTS", "Balancer", "Https", "Pool", "Server", "get", "server_name"]

ENTRY_POINTS = "deployer.balancers"
"""A third party's package adds a balancer by an entry point of this group: its name → a class without arguments."""


def get(kind: str) -> Balancer:
    """The balancer of that kind (`haproxy` …); SettingsError if there is none."""
    own: tuple[Balancer, ...] = (HAProxy(), Nginx(), Caddy(), Command())
    for balancer in own:
        if balancer.name == kind:
            return balancer
    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        made: Balancer = entry.load()()
        return made
    raise SettingsError(
        f"there is no balancer {kind!r}",
        hint="balancer.kind is one of " + ", ".join(balancer.name for balancer in own),
    )
