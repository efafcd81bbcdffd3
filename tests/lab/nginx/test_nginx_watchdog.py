"""The watchdog puts back what a killed agent drained, though nginx itself is away meanwhile."""

from __future__ import annotations

import os
import signal

import pytest
from support.balanced import until
from support.drainer import agent
from support.real_nginx import House

from deployer.agent.balancer import drain_records

pytestmark = pytest.mark.lab


def test_an_agent_killed_with_its_whole_session_leaves_nothing_drained(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[two.server], by="person", reason="a broken disk")
    with agent(pool, balancer_host.adapter.driver(pool), one.server, bound=1.5) as process:
        assert balancer_host.get()[0] == 503
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        balancer_host.crash()
        until("the watchdog admits it", lambda: list(drain_records.read(pool.site)) == [two.server])
    assert [balancer_host.get()[1].split()[0] for _ in range(5)] == ["web1"] * 5
    assert balancer_host.state(pool)[two.server]["held"]["by"] == "person"
