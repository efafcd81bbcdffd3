"""The servers of a balancer that does not run, as the agent reads them from what the adapter wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.agent.balancer import operations
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.endpoints import parts
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.balancer import LookAtPool
from deployer.agent.model.resources import File
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context, OpError
from deployer.balancers.base import Balancer, Pool, Server
from deployer.balancers.caddy import Caddy
from deployer.balancers.haproxy import HAProxy
from deployer.balancers.nginx import Nginx

TCP = {"web1-8000": "192.0.2.1:8000", "web2-8000": "[2001:db8::2]:8000"}
SOCKET = {"web3-8000": "/run/shop/8000.sock"}


def pool(prefix: Path, places: dict[str, str]) -> Pool:
    site = Site(app="shop", env="prod", root=f"{prefix}/srv/shop", prefix=str(prefix))
    servers = tuple(Server(name, *parts(at)) for name, at in places.items())
    return Pool(site=site, name="shop-prod", servers=servers, health=Health(path="/healthz"), listen="127.0.0.1:8080")


@pytest.mark.parametrize(
    ("adapter", "places"),
    [(HAProxy(), TCP), (Nginx(), {**TCP, **SOCKET}), (Caddy(), {**TCP, **SOCKET})],
    ids=["haproxy", "nginx", "caddy"],
)
def test_a_stopped_balancer_is_known_by_its_configuration(
    adapter: Balancer, places: dict[str, str], tmp_path: Path
) -> None:
    shop = pool(tmp_path, places)
    driver: dict[str, Any] = adapter.driver(shop)
    assert create_driver(driver).configured() == {}
    for resource in adapter.resources(shop):
        if isinstance(resource, File):
            Path(resource.path).parent.mkdir(parents=True, exist_ok=True)
            Path(resource.path).write_text(resource.content)
    assert create_driver(driver).configured() == places

    request: LookAtPool = {"site": shop.site.to_wire(), "driver": driver}
    with pytest.raises(OpError) as raised:
        operations.state(Context(), request)
    assert raised.value.code == "balancer_down"
    servers = operations.state(Context(), {**request, "configured": True})["servers"]
    assert {name: server["address"] for name, server in servers.items()} == places
    assert not any(server["serves"] for server in servers.values())
