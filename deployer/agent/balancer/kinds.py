"""The kinds of balancers that this agent can drive. The module of a kind is imported only when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from deployer.agent.balancer import plugins
from deployer.agent.balancer.driver import Driver, StrictDriver
from deployer.agent.operation import OpError

DRIVERS = {
    **plugins.DRIVERS,
    "haproxy": "haproxy.driver:HAProxy",
    "nginx": "nginx.driver:Nginx",
    "caddy": "caddy.driver:Caddy",
    "command": "command:Commands",
}
"""Kind → `module:class` of its driver, the module relative to `agent.balancer`. Nothing replaces a built-in one."""


def create_driver(driver: dict[str, Any]) -> Driver:
    """Creates the driver that the controller's adapter described: `{"kind": "haproxy", …}`.

    Raises:
        OpError: `unknown_balancer` for a kind that is not one of these.
    """
    kind = str(driver.get("kind"))
    if kind not in DRIVERS:
        raise OpError("unknown_balancer", f"this agent cannot drive a balancer of kind {kind!r}")
    module, _, name = DRIVERS[kind].partition(":")
    create = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    return StrictDriver(create(driver), kind)
