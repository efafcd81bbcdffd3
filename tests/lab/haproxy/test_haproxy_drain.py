"""Out of the pool and back, with requests in flight."""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.balanced import until
from support.real_haproxy import House

from deployer.agent.balancer import drain_records
from deployer.agent.operation import Context, OpError

pytestmark = pytest.mark.lab

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def test_a_drain_waits_for_a_slow_request_and_new_ones_go_elsewhere(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    with ThreadPoolExecutor() as pool_of_threads:
        slow = pool_of_threads.submit(balancer_host.get, "/slow")
        until("the slow request is in flight", lambda: one.busy + two.busy == 1)
        busy, other = (one, two) if one.busy else (two, one)
        draining = pool_of_threads.submit(
            balancer_host.call, "drain", pool, servers=[busy.server], timeout=20, reason="a push"
        )
        until("it is drained", lambda: balancer_host.state(pool)[busy.server]["state"] == "DRAIN")
        answers = [balancer_host.get()[1].split()[0] for _ in range(20)]
        assert not draining.done()
        busy.release.set()
        assert slow.result()[0] == 200
        result = draining.result()["servers"][busy.server]
    assert answers == [other.name] * 20
    assert (result["drained"], result["remaining"]) == (True, 0)
    assert drain_records.read(pool.site)[busy.server]["by"] == "run"


def test_a_websocket_outlasts_the_drain_and_is_counted(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    connection = http.client.HTTPConnection("127.0.0.1", balancer_host.port)
    connection.request("GET", "/tunnel", headers=UPGRADE)
    assert connection.getresponse().status == 101
    began = time.monotonic()
    result = balancer_host.call("drain", pool, servers=[web.server], timeout=1)["servers"][web.server]
    assert 1 <= time.monotonic() - began < 10
    assert (result["drained"], result["remaining"]) == (False, 1)
    connection.close()


def test_a_cancelled_drain_ends_at_once_and_stays_drained(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    ctx = Context(cancelled=threading.Event())
    with ThreadPoolExecutor() as pool_of_threads:
        slow = pool_of_threads.submit(balancer_host.get, "/slow")
        until("the slow request is in flight", lambda: web.busy == 1)
        draining = pool_of_threads.submit(balancer_host.call, "drain", pool, ctx, servers=[web.server], timeout=60)
        until("it is drained", lambda: balancer_host.state(pool)[web.server]["state"] == "DRAIN")
        ctx.cancelled.set()
        assert draining.result(10)["servers"][web.server]["drained"] is False
        web.release.set()
        assert slow.result()[0] == 200


def test_admit_waits_until_requests_really_go_there(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server])
    one.stop()
    until("the check sees it", lambda: balancer_host.state(pool)[one.server]["check"] == "L4CON")
    threading.Timer(1.0, one.start).start()
    result = balancer_host.call("admit", pool, servers=[one.server], wait=20)["servers"][one.server]
    assert result["state"] == "UP"
    assert result["seconds"] > 0.5
    assert drain_records.read(pool.site) == {}
    assert {balancer_host.get()[1].split()[0] for _ in range(20)} == {"web1", "web2"}


def test_a_server_that_does_not_come_up_stays_drained_and_recorded(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[web.server])
    web.healthy = False
    until("the check sees it", lambda: balancer_host.state(pool)[web.server]["check"] == "L7STS")
    with pytest.raises(OpError) as raised:
        balancer_host.call("admit", pool, servers=[web.server], wait=0.6)
    assert raised.value.code == "not_up"
    assert "L7STS" in raised.value.message
    state = balancer_host.state(pool)[web.server]
    assert state["state"] == "DRAIN"
    assert state["held"]["run"] == "run-1"


def test_a_persons_drain_survives_a_push(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[web.server], by="person", reason="a broken disk", run="by-hand")
    balancer_host.call("drain", pool, servers=[web.server])
    answer = balancer_host.call("admit", pool, servers=[web.server], wait=1)["servers"][web.server]
    assert answer["held"]["reason"] == "a broken disk"
    assert balancer_host.state(pool)[web.server]["state"] == "DRAIN"
    assert balancer_host.call("recover", pool, run="run-2")["admitted"] == []
    assert balancer_host.state(pool)[web.server]["held"]["by"] == "person"
    balancer_host.call("admit", pool, servers=[web.server], by="person")
    assert balancer_host.state(pool)[web.server]["held"] is None
    assert balancer_host.get()[0] == 200


def test_a_quarantine_replaces_the_runs_own_drain_and_needs_force(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[web.server])
    balancer_host.call("drain", pool, servers=[web.server], by="quarantine", reason="must prove 2026-1")
    assert balancer_host.state(pool)[web.server]["held"]["by"] == "quarantine"
    balancer_host.call("admit", pool, servers=[web.server], by="person")
    assert balancer_host.state(pool)[web.server]["state"] == "DRAIN"
    balancer_host.call("admit", pool, servers=[web.server], force=True)
    assert balancer_host.state(pool)[web.server]["state"] == "UP"


def test_the_next_run_admits_what_a_dead_run_left(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server, two.server], run="dead")
    assert balancer_host.get()[0] == 503
    answer = balancer_host.call("recover", pool, run="run-2")
    assert answer["admitted"] == [one.server, two.server]
    until("both serve", lambda: all(server["serves"] for server in balancer_host.state(pool).values()))
    assert balancer_host.get()[0] == 200
    assert drain_records.read(pool.site) == {}


def test_without_a_lease_nothing_is_drained(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    with pytest.raises(OpError) as raised:
        balancer_host.call("drain", pool, Context(lease_left=lambda: 0.0), servers=[web.server], by="quarantine")
    assert raised.value.code == "lease_lost"
    assert balancer_host.state(pool)[web.server]["state"] == "UP"
    assert drain_records.read(pool.site) == {}


def test_unknown_servers_and_a_dead_balancer_are_named(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    gone = {**balancer_host.adapter.driver(pool), "socket": f"{balancer_host.prefix}/run/gone.sock"}
    with pytest.raises(OpError) as raised:
        balancer_host.call("drain", pool, servers=[web.server], driver=gone)
    assert raised.value.code == "balancer_down"
    assert "gone.sock" in raised.value.message
    with pytest.raises(OpError) as raised:
        balancer_host.call("drain", pool, servers=["web9-8000"])
    assert raised.value.code == "unknown_server"
    assert "web9-8000" in raised.value.message


def test_servers_of_a_pool_that_somebody_else_configures_are_found_by_their_place(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    theirs = balancer_host.pool("shop", web)
    balancer_host.apply(theirs)
    alias = [type(server)("alias-1", server.address, server.port) for server in theirs.servers]
    pool = balancer_host.pool("shop", servers=tuple(alias), options={"manage": False})
    balancer_host.call("drain", pool, servers=["alias-1"])
    assert balancer_host.state(theirs)[web.server]["state"] == "DRAIN"
    assert balancer_host.call("admit", pool, servers=["alias-1"])["servers"]["alias-1"]["state"] == "UP"
