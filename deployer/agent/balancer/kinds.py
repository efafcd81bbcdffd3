"""The kinds of balancers that this agent can drive. The module of a kind is imported only when it is used."""

from __future__ import annotations

from typing import Any

from deployer.agent.balancer.driver import Driver, StrictDriver
from deployer.agent.operation import OpError


def create_driver(driver: dict[str, Any]) -> Driver:
    """Creates the driver that the controller's adapter described: `{"kind": "haproxy", …}`.

    Raises:
        OpError: `unknown_balancer` for a kind that is not one of these.
    """
    return StrictDriver(_create(driver), str(driver.get("kind")))


def _create(driver: dict[str, Any]) -> Driver:
    kind = driver.get("kind")
    if kind == "haproxy":
        from deployer.agent.balancer.haproxy.driver import HAProxy

        return HAProxy(driver)
    if kind == "nginx":
        from deployer.agent.balancer.nginx.driver import Nginx

        return Nginx(driver)
    if kind == "caddy":
        from deployer.agent.balancer.caddy.driver import Caddy

        return Caddy(driver)
    if kind == "command":
        from deployer.agent.balancer.command import Commands

        return Commands(driver)
    raise OpError("unknown_balancer", f"this agent cannot drive a balancer of kind {kind!r}")
