"""What real HAProxy tells of requests, for the judge of a canary."""

from __future__ import annotations

import pytest
from support.real_haproxy import House

from deployer.agent.balancer import statistics
from deployer.agent.model.messages.balancer import ReadStats, RequestStats
from deployer.agent.operation import Context, OpError
from deployer.balancers import Pool

pytestmark = pytest.mark.lab


def read(balancer_host: House, pool: Pool, last: float = 60.0) -> dict[str, RequestStats]:
    driver = balancer_host.adapter.driver(pool)
    request: ReadStats = {"site": pool.site.to_wire(), "driver": driver, "last": last, "ahead": 0.0}
    return statistics.read(Context(), request)["servers"]


def test_it_tells_what_came_of_the_last_requests_to_each_server(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    shop, blog = (
        balancer_host.pool("shop", one, domains=("a.test",)),
        balancer_host.pool("blog", two, domains=("b.test",)),
    )
    balancer_host.apply(shop, blog)
    for _ in range(10):
        assert balancer_host.get("/", "a.test")[0] == 200
        assert balancer_host.get("/", "b.test")[0] == 200
    for _ in range(3):
        assert balancer_host.get("/says/503", "a.test")[0] == 503
    assert balancer_host.get("/drop", "a.test")[0] == 502
    found = read(balancer_host, shop)
    assert list(found) == [one.server]
    assert {key: found[one.server][key] for key in ("requests", "failed", "lost")} == {
        "requests": 14,
        "failed": 3,
        "lost": 1,
    }
    assert sum(found[one.server]["times"].values()) == 13
    assert read(balancer_host, shop, last=0.0) == {}


def test_a_reload_forgets_and_a_pool_that_keeps_none_says_so(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    balancer_host.get()
    balancer_host.apply(balancer_host.pool("shop", web, keepalive=9.0))
    assert read(balancer_host, pool) == {}
    balancer_host.get()
    assert read(balancer_host, pool)[web.server]["requests"] == 1
    with pytest.raises(OpError) as raised:
        read(balancer_host, balancer_host.pool("shop", web, options={"manage": False}))
    assert raised.value.code == "no_figures"
