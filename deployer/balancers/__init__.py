"""Balancers: what stands before the instances. `get` finds one by the name that `balancer.kind` gives."""

from __future__ import annotations

from deployer.balancers.base import Balancer, Https, Pool, Server, server_name
from deployer.balancers.caddy import Caddy
from deployer.balancers.command import Command
from deployer.balancers.haproxy import HAProxy
from deployer.balancers.nginx import Nginx
from deployer.registry import BALANCERS, Registry

__all__ = ["Balancer", "Https", "Pool", "Server", "get", "server_name"]

get = Registry[Balancer](BALANCERS, Balancer, (HAProxy(), Nginx(), Caddy(), Command())).get
