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
        OpError: `unknown_balancer` for a kind that is not one of these, `unusable_driver` for one of another package
            that lacks a method.
    """
    kind = str(driver.get("kind"))
    if kind not in DRIVERS:
        raise OpError("unknown_balancer", f"this agent cannot drive a balancer of kind {kind!r}")
    module, _, name = DRIVERS[kind].partition(":")
    create = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    made = create(driver)
    missing = [method for method in vars(Driver) if not method.startswith("_") and not hasattr(made, method)]
    if missing:
        raise OpError(
            "unusable_driver",
            f"the driver of the balancer {kind} has no {', '.join(missing)}",
            "install a version of its package that fits this deploy",
        )
    return StrictDriver(made, kind)
