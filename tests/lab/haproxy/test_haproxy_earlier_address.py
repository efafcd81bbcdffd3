"""A pool of somebody else's, and a server that the inventory has elsewhere now: HAProxy sends requests to both."""

from __future__ import annotations

import pytest
from support.real_haproxy import House

from deployer.agent.operation import OpError
from deployer.balancers import Pool, Server

pytestmark = [pytest.mark.lab, pytest.mark.more]


def test_an_earlier_address_that_gets_requests_stops_a_drain(balancer_host: House) -> None:
    earlier, later = balancer_host.web("web1"), balancer_host.web("web2")
    balancer_host.apply(balancer_host.pool("shop", earlier, later))

    def foreign(port: int) -> Pool:
        servers = (Server("web-8000", "127.0.0.1", port),)
        return balancer_host.pool("shop", servers=servers, options={"manage": False})

    before, now = foreign(earlier.port), foreign(later.port)
    balancer_host.call("recover", before)
    assert balancer_host.call("elsewhere", now, servers=["web-8000"]) == {
        "servers": {"web-8000": [f"127.0.0.1:{earlier.port}"]}
    }
    with pytest.raises(OpError) as raised:
        balancer_host.call("drain", now, servers=["web-8000"], by="person", timeout=1)
    assert raised.value.code == "old_address"
    assert {state["state"] for state in balancer_host.state(now).values()} == {"UP"}

    balancer_host.raw(f"set server shop-prod/{earlier.server} state maint")
    answer = balancer_host.call("drain", now, servers=["web-8000"], by="person", timeout=5)
    assert answer["servers"]["web-8000"]["drained"]
    assert balancer_host.state(now)["web-8000"]["state"] == "DRAIN"
