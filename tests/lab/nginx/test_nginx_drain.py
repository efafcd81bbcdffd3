"""Out of the pool and back without a reload, with requests in flight."""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.balanced import until
from support.real_nginx import House

from deployer.agent.balancer import drain_records
from deployer.agent.operation import Context, OpError
from deployer.balancers import Server

pytestmark = [pytest.mark.lab, pytest.mark.more]

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def test_a_drain_waits_for_a_slow_request_and_new_ones_go_elsewhere(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    idle = http.client.HTTPConnection("127.0.0.1", balancer_host.port, timeout=40)
    idle.request("GET", "/")
    assert idle.getresponse().read()
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(balancer_host.get, "/slow")
        until("the slow request is in flight", lambda: one.busy + two.busy == 1)
        busy, other = (one, two) if one.busy else (two, one)
        draining = threads.submit(balancer_host.call, "drain", pool, servers=[busy.server], timeout=20, reason="a push")
        until("it is drained", lambda: balancer_host.state(pool)[busy.server]["state"] == "DRAIN")
        answers = [balancer_host.ask(method)[1].split()[0] for method in ("GET", "POST", "PUT") * 7]
        assert not draining.done()
        busy.release.set()
        assert slow.result()[0] == 200
        result = draining.result()["servers"][busy.server]
    assert answers == [other.name] * 21
    assert (result["drained"], result["remaining"]) == (True, 0)
    assert drain_records.read(pool.site)[busy.server]["by"] == "run"
    sock = idle.sock
    idle.request("GET", "/")  # what a reload would have closed
    assert idle.getresponse().read().startswith(other.name.encode())
    assert idle.sock is sock


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
    again = balancer_host.call("drain", pool, servers=[web.server], timeout=20)["servers"][web.server]
    assert again["drained"] is True


def test_a_cancelled_drain_ends_at_once_and_stays_drained(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    ctx = Context(cancelled=threading.Event())
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(balancer_host.get, "/slow")
        until("the slow request is in flight", lambda: web.busy == 1)
        draining = threads.submit(balancer_host.call, "drain", pool, ctx, servers=[web.server], timeout=60)
        until("it is drained", lambda: balancer_host.state(pool)[web.server]["state"] == "DRAIN")
        ctx.cancelled.set()
        assert draining.result(10)["servers"][web.server]["drained"] is False
        web.release.set()
        assert slow.result()[0] == 200


def test_admit_waits_until_the_server_answers_through_nginx(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server])
    one.stop()
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
    with pytest.raises(OpError) as raised:
        balancer_host.call("admit", pool, servers=[web.server], wait=0.6)
    assert raised.value.code == "not_up"
    assert "answered 503, wanted 200" in raised.value.message
    state = balancer_host.state(pool)[web.server]
    assert state["state"] == "DRAIN"
    assert state["held"]["run"] == "run-1"


def test_a_silent_server_holds_up_no_look_at_the_others(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    two.mute.set()
    began = time.monotonic()
    assert balancer_host.call("drain", pool, servers=[one.server], timeout=20)["servers"][one.server]["drained"]
    balancer_host.call("admit", pool, servers=[one.server], wait=20)
    assert time.monotonic() - began < 10
    assert balancer_host.state(pool)[two.server]["serves"] is False
    two.mute.clear()


def test_who_was_held_out_before_a_run_is_held_out_again_where_it_goes_back(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server], by="quarantine", reason="lost", run="a-dead-run")
    held = {one.server: balancer_host.state(pool)[one.server]["held"]}
    balancer_host.call("admit", pool, servers=[one.server], force=True)
    assert balancer_host.state(pool)[one.server]["serves"]
    answer = balancer_host.call("admit", pool, servers=[one.server, two.server], held=held)["servers"]
    assert answer[one.server]["held"]["by"] == "quarantine" and answer[two.server]["held"] is None
    told = balancer_host.state(pool)
    assert told[one.server]["held"] == held[one.server] and not told[one.server]["serves"]
    assert {balancer_host.get()[1].split()[0] for _ in range(6)} == {"web2"}


def test_a_persons_drain_survives_a_push_and_a_quarantine_needs_force(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server], by="person", reason="a broken disk", run="by-hand")
    balancer_host.call("drain", pool, servers=[two.server], by="quarantine", reason="must prove 2026-1")
    answer = balancer_host.call("admit", pool, servers=[one.server, two.server], wait=1)["servers"]
    assert [answer[web.server]["held"]["by"] for web in (one, two)] == ["person", "quarantine"]
    assert balancer_host.call("recover", pool, run="run-2") == {"admitted": [], "held_again": []}
    balancer_host.call("admit", pool, servers=[one.server], by="person")
    balancer_host.call("admit", pool, servers=[two.server], force=True)
    assert {state["state"] for state in balancer_host.state(pool).values()} == {"UP"}


def test_what_is_held_outlives_a_killed_nginx_and_a_dead_runs_drain_is_undone(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server], by="person", reason="a broken disk")
    balancer_host.call("drain", pool, servers=[two.server], run="dead")
    balancer_host.crash()
    until("it answers", lambda: balancer_host.state(pool)[one.server]["state"] == "DRAIN")
    status, text, headers = balancer_host.ask()
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "no instance" in text
    assert balancer_host.call("recover", pool, run="run-2")["admitted"] == [two.server]
    assert [balancer_host.get()[1].split()[0] for _ in range(5)] == ["web2"] * 5
    assert balancer_host.state(pool)[one.server]["held"]["by"] == "person"


def test_of_two_slots_the_one_in_use_serves_and_both_while_they_change(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    servers = tuple(Server(web.server, "127.0.0.1", web.port, "web1:0") for web in (one, two))
    pool = balancer_host.pool("shop", servers=servers)
    balancer_host.apply(pool)
    assert {balancer_host.get()[1].split()[0] for _ in range(5)} == {"web1"}
    one.stop()  # nobody has said yet which one is in use
    assert {balancer_host.ask(method)[1].split()[0] for method in ("GET", "POST", "PUT")} == {"web2"}
    balancer_host.call("retire", pool, servers=[one.server])
    balancer_host.crash()
    until("it answers", lambda: balancer_host.state(pool)[two.server]["serves"])
    assert balancer_host.state(pool)[one.server]["state"] == "MAINT"
    one.start()
    assert balancer_host.get()[1].startswith("web2")
    balancer_host.call("admit", pool, servers=[one.server])
    balancer_host.call("drain", pool, servers=[two.server])
    assert balancer_host.state(pool)[two.server]["state"] == "DRAIN"
    assert balancer_host.get()[1].startswith("web1")


def test_a_server_that_comes_to_a_pool_later_gets_nothing_until_it_is_admitted(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(balancer_host.pool("shop", two))
    balancer_host.apply(pool)
    found = balancer_host.state(pool)
    assert (found[one.server]["state"], found[two.server]["state"]) == ("MAINT", "UP")
    assert {balancer_host.get()[1].split()[0] for _ in range(20)} == {"web2"}
    balancer_host.call("admit", pool, servers=[one.server])
    assert {balancer_host.get()[1].split()[0] for _ in range(20)} == {"web1", "web2"}


def test_a_server_that_comes_back_to_the_pool_is_not_held_by_what_is_past(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server], by="person")
    balancer_host.apply(balancer_host.pool("shop", two))
    balancer_host.call("recover", pool)
    balancer_host.apply(pool)
    found = balancer_host.state(pool)[one.server]
    assert (found["state"], found["held"]) == ("MAINT", None), "it is as new: a push admits it"


def test_without_a_lease_nothing_is_drained(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    with pytest.raises(OpError) as raised:
        balancer_host.call("drain", pool, Context(lease_left=lambda: 0.0), servers=[web.server], by="quarantine")
    assert raised.value.code == "lease_lost"
    assert balancer_host.state(pool)[web.server]["state"] == "UP"


def test_unknown_servers_and_a_stopped_nginx_are_named(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    with pytest.raises(OpError) as raised:
        balancer_host.call("state", pool)
    assert raised.value.code == "balancer_down"
    assert "routes/shop-prod.json" in raised.value.message
    balancer_host.apply(pool)
    with pytest.raises(OpError) as raised:
        balancer_host.call("drain", pool, servers=["web9-8000"])
    assert raised.value.code == "unknown_server"
    balancer_host.control("stop")
    try:
        with pytest.raises(OpError) as raised:
            balancer_host.call("drain", pool, servers=[web.server])
        assert raised.value.code == "balancer_down"
        assert Path(balancer_host.prefix, "run/deploy-nginx").name in raised.value.message
    finally:
        balancer_host.control("start")
