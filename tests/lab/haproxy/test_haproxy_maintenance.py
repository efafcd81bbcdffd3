"""Maintenance at HAProxy: a page for users and nobody else, which a reload and a restart leave as it is."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.balanced import until
from support.real_haproxy import House

from deployer.agent.balancer import maintenance
from deployer.agent.model.messages.balancer import MaintenanceSet, SetMaintenance
from deployer.agent.operation import Context
from deployer.balancers import Pool

pytestmark = [pytest.mark.lab]

PAGE = "<h1>closed {{for}} the %[src] sale</h1>\n"


def put(house: House, pool: Pool, on: bool) -> MaintenanceSet:
    driver = house.adapter.driver(pool)
    request: SetMaintenance = {"site": pool.site.to_wire(), "driver": driver, "on": on, "reason": "why"}
    return maintenance.put(Context(identity="me"), request)


def serves(house: House, name: str) -> bool:
    with contextlib.suppress(OSError):
        return house.get(host=name)[0] == 200
    return False


def test_users_get_the_page_and_what_is_under_way_ends(balancer_host: House) -> None:
    web, blog = balancer_host.web("shop"), balancer_host.web("blog")
    pool = balancer_host.pool("shop", web, domains=("shop.example.com",), maintenance=PAGE)
    balancer_host.apply(pool, balancer_host.pool("blog", blog, domains=("blog.example.com",)))
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(balancer_host.get, "/slow")
        until("the slow request is in flight", lambda: web.busy == 1)
        assert put(balancer_host, pool, True)["changed"] is True
        assert balancer_host.get() == (503, PAGE)
        web.release.set()
        assert slow.result()[0] == 200
    assert balancer_host.get(host="blog.example.com")[0] == 200
    until("its health is nobody's maintenance", lambda: balancer_host.state(pool)[web.server]["serves"] is True)
    assert put(balancer_host, pool, True)["changed"] is False

    assert balancer_host.notify().returncode == 0
    assert balancer_host.get() == (503, PAGE)
    balancer_host.control("restart")
    until("it serves again", lambda: serves(balancer_host, "blog.example.com"))
    assert balancer_host.get() == (503, PAGE)
    assert put(balancer_host, pool, False) == {"maintenance": None, "changed": True}
    assert balancer_host.get()[0] == 200
    assert balancer_host.get("/says/503")[1].startswith("shop"), "an app's own 503 is its own"
