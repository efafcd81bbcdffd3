"""A balancer's sockets: setup sees that nobody can reach one, and a push never restarts a balancer for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from support.topologies import topology

from deployer import balancers
from deployer.agent.balancer.caddy import reload_tool as caddy_reload
from deployer.agent.balancer.nginx import reload_tool as nginx_reload
from deployer.agent.model.resources import Listener
from deployer.roles.setup import Adapters, setup_resources
from deployer.rollout.steps.resources import for_push

KINDS = ("haproxy", "nginx", "caddy")


def listeners(resources: Any) -> list[Listener]:
    """The sockets among resources."""
    return [each for each in resources if isinstance(each, Listener)]


@pytest.mark.parametrize("kind", KINDS)
def test_setup_sees_to_the_sockets_that_it_asks_and_a_push_does_not(kind: str) -> None:
    shape = topology(1, 1, kind=kind)
    balancer = shape.balancers[0]
    adapter = balancers.get(kind)
    adapters = Adapters(balancer=adapter, pools=(shape.pool(balancer, {}),))
    made, handlers = setup_resources("balancers", shape.settings, balancer.site, {}, balancer.host, adapters)
    assert listeners(made), kind
    assert {name for each in listeners(made) for name in each.notify} <= set(handlers)
    assert not any(listeners(wish.resources) for wish in for_push(shape))


class _Service:
    """A balancer that runs, and would be restarted by `restart it`."""

    def __init__(self) -> None:
        self.started = False

    def restart_command(self) -> str:
        return "restart it"

    def runs(self) -> bool:
        return True

    def start(self) -> None:
        self.started = True


def test_nginx_is_not_reloaded_with_a_socket_that_nobody_can_reach(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    apps: Any = [{"servers": {"web1-8000": {"socket": path}, "web2-8000": {"socket": path + ".new"}}}]
    service: Any = _Service()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        nginx_reload._refuse_unreachable(apps, service)
        os.unlink(path)
        with pytest.raises(nginx_reload.Refused, match=f"{path} is gone.*restart it"):
            nginx_reload._refuse_unreachable(apps, service)


def test_a_caddy_that_runs_without_its_admin_socket_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caddy_reload, "_STARTING", 0.1)
    service: Any = _Service()
    with pytest.raises(caddy_reload.Refused, match=r"Caddy runs, and its admin socket .* is gone.*restart it"):
        caddy_reload._start([], caddy_reload.Places(str(tmp_path)), service)
    assert not service.started
