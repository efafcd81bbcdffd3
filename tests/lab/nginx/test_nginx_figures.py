"""What real nginx writes down of requests, for the judge of a canary, and only while somebody asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.real_nginx import House

from deployer.agent.balancer import statistics
from deployer.agent.model.messages.balancer import ReadStats, RequestStats
from deployer.agent.operation import Context
from deployer.balancers import Pool

pytestmark = pytest.mark.lab


def read(balancer_host: House, pool: Pool, last: float = 60.0, ahead: float = 300.0) -> dict[str, RequestStats]:
    driver = balancer_host.adapter.driver(pool)
    request: ReadStats = {"site": pool.site.to_wire(), "driver": driver, "last": last, "ahead": ahead}
    return statistics.read(Context(), request)["servers"]


def test_it_tells_what_came_of_requests_while_it_is_asked(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    log = Path(balancer_host.prefix) / "var/lib/deploy-nginx/requests/log"
    assert balancer_host.get()[0] == 200
    assert log.read_text() == "", "nobody asked"
    assert read(balancer_host, pool) == {}
    for _ in range(10):
        assert balancer_host.get()[0] == 200
    for _ in range(3):
        assert balancer_host.get("/says/500")[0] == 500
    assert balancer_host.ask("POST", "/drop")[0] == 502
    balancer_host.state(pool)  # asks for its health, which is no user's request
    found = read(balancer_host, pool)[web.server]
    assert {key: found[key] for key in ("requests", "failed", "lost")} == {"requests": 14, "failed": 3, "lost": 1}
    assert sum(found["times"].values()) == 13
    assert read(balancer_host, pool, ahead=0.0)[web.server]["requests"] == 14
    before = log.read_text()
    assert balancer_host.get()[0] == 200 and log.read_text() == before, "nobody asks any more"
