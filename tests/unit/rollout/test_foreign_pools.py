"""A pool that deploy does not configure has to send requests where the inventory has each server, and only there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pytest
from scripted import OLD
from support.facts import facts, host, server_state
from support.topologies import topology

from deployer.agent.model.layout import Site
from deployer.agent.model.messages.balancer import ELSEWHERE
from deployer.agent.model.typed import Operation
from deployer.errors import NotReadyError
from deployer.plan.facts import Facts
from deployer.rollout.pools.foreign_pools import require_current_pools

COMMANDS = {"kind": "command", "drain": "a", "admit": "b", "state": "c"}


class Run:
    """As much of a run as the check needs: `elsewhere` is what the balancer's host answers, or fails with KeyError."""

    def __init__(
        self, kind: str, elsewhere: dict[str, list[str]] | None = None, balancer: dict[str, Any] | None = None
    ) -> None:
        self.id = "run-1"
        self.topology = topology(2, 1, kind=kind, balancer=balancer or {})
        self.balancers = ["lb1"]
        self._elsewhere = elsewhere

    def site(self, host: str) -> Any:
        return asdict(Site("shop", "prod", "/srv/shop"))

    def run_on_hosts(
        self, hosts: Sequence[str], operation: Operation[Any, Any], args: Callable[[str], Any], *, step: str
    ) -> dict[str, Any]:
        assert operation is ELSEWHERE and args("lb1")["servers"] == ["web1-8000", "web2-8000"]
        assert self._elsewhere is not None, "nobody is to be asked"
        return {name: {"servers": self._elsewhere} for name in hosts}


def known(*names: str) -> Facts:
    servers = {name: server_state() for name in names}
    both = facts(*(host(f"web{number}", [OLD], current=OLD) for number in (1, 2)))
    return Facts(both.hosts, {"lb1": servers})


def refused(run: Run, found: Facts) -> NotReadyError:
    with pytest.raises(NotReadyError) as caught:
        require_current_pools(run, found)  # type: ignore[arg-type]
    assert caught.value.host == "lb1"
    return caught.value


def test_a_server_that_the_pool_lacks() -> None:
    error = refused(Run("haproxy", {}, {"manage": False, "backend": "theirs"}), known("web1-8000"))
    assert error.code == "not_in_pool" and "192.0.2.2:8000" in error.message and "theirs" in str(error.hint)


@pytest.mark.parametrize(
    ("kind", "balancer"), [("haproxy", {"manage": False, "backend": "theirs"}), ("command", COMMANDS)]
)
def test_a_server_that_gets_requests_at_an_earlier_address_too(kind: str, balancer: dict[str, Any]) -> None:
    run = Run(kind, {"web2-8000": ["198.51.100.2:8000"]}, balancer)
    error = refused(run, known("web1-8000", "web2-8000"))
    assert error.code == "old_address" and "web2:0" in error.message and "198.51.100.2:8000" in error.message
    assert "192.0.2.2:8000 alone" in str(error.hint)


@pytest.mark.parametrize(
    ("kind", "balancer"), [("haproxy", {"manage": False, "backend": "theirs"}), ("command", COMMANDS)]
)
def test_one_that_gets_them_where_the_inventory_has_it(kind: str, balancer: dict[str, Any]) -> None:
    require_current_pools(Run(kind, {}, balancer), known("web1-8000", "web2-8000"))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["haproxy", "nginx", "caddy"])
def test_pools_that_deploy_writes_are_not_asked(kind: str) -> None:
    require_current_pools(Run(kind), known())  # type: ignore[arg-type]
