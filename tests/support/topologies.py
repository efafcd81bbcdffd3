"""An app in an environment as the rollout sees it: real settings and hosts, with nothing behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.agent.model.layout import Site
from deployer.inventory import effective
from deployer.inventory.model import Host, SshOptions
from deployer.plan.topology import BalancerHost, Topology, WebHost
from deployer.settings.models import Settings


def topology(
    web: int = 3,
    balancers: int = 1,
    own: Mapping[str, Any] | None = None,
    served_by: str = "uvicorn",
    kind: str = "haproxy",
    **settings: Any,
) -> Topology:
    """`web1` … `webN` behind `lb1` … `lbM`.

    Args:
        own: host name → what its variable `deploy: {shop: …}` says.
        served_by: the server's name, as it would have been inferred.
        kind: the balancers' kind, where there are any.
        settings: top-level keys of deploy.yaml beside `app` and `domains`.
    """
    made = Settings.model_validate({"app": "shop", "domains": ["shop.example.com"], **settings})
    web_hosts = [_host(f"web{number}", f"192.0.2.{number}", (own or {})) for number in range(1, web + 1)]
    balancer_hosts = [_host(f"lb{number}", f"192.0.2.{100 + number}", {}) for number in range(1, balancers + 1)]
    return Topology(
        env="prod",
        settings=made,
        web=tuple(_web(made, host, place) for place, host in enumerate(web_hosts)),
        balancers=tuple(BalancerHost(host, Site("shop", "prod", "/srv/shop")) for host in balancer_hosts),
        kind=kind if balancer_hosts else "none",
        health_path="/healthz",
        health_status=200,
        served_by=served_by,
    )


def _host(name: str, address: str, own: Mapping[str, Any]) -> Host:
    variables = {"deploy": {"shop": own[name]}} if name in own else {}
    return Host(name, SshOptions(address, user="root"), variables=variables)


def _web(settings: Settings, host: Host, place: int) -> WebHost:
    mine = effective.for_host(settings, host)
    return WebHost(host, mine, Site("shop", "prod", mine.root, "", mine.user), place)
