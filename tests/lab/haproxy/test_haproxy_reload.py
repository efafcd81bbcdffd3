"""Reloads: nothing that is drained comes back, nobody loses a request, and a bad configuration changes nothing."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.balanced import Program, traffic, until
from support.real_haproxy import House

from deployer.agent.balancer.haproxy import workers
from deployer.agent.balancer.haproxy.reload_tool import dump_all, hold, worker
from deployer.balancers import Server, server_name

pytestmark = pytest.mark.lab


def _socket(balancer_host: House) -> str:
    return f"{balancer_host.prefix}/run/haproxy/deploy.sock"


def _reload_by_somebody(balancer_host: House) -> None:
    """What ExecReload of the unit does: the dump, then the signal."""
    before = worker(_socket(balancer_host))
    dump_all(f"{balancer_host.prefix}/etc/haproxy/deploy", _socket(balancer_host))
    balancer_host.control("signal", "USR2")
    until("another worker answers", lambda: worker(_socket(balancer_host)) not in (None, before))


def test_a_reload_keeps_what_is_drained_and_what_was_admitted_again(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server])
    _reload_by_somebody(balancer_host)
    assert balancer_host.state(pool)[one.server]["state"] == "DRAIN"
    balancer_host.call("admit", pool, servers=[one.server])
    _reload_by_somebody(balancer_host)
    assert balancer_host.state(pool)[one.server]["state"] == "UP"


def test_after_a_crash_of_haproxy_the_drain_is_known(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server])
    balancer_host.control("restart")
    until("it answers", lambda: worker(_socket(balancer_host)) is not None)
    assert balancer_host.state(pool)[one.server]["state"] == "DRAIN"


def test_after_a_restart_of_the_host_a_persons_drain_is_kept_and_a_runs_is_not(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server], by="person", reason="a broken disk")
    balancer_host.call("drain", pool, servers=[two.server])
    balancer_host.control("stop")
    for path in Path(f"{balancer_host.prefix}/run/haproxy").glob("*.state"):
        path.unlink()
    balancer_host.control("start")
    until("it answers", lambda: worker(_socket(balancer_host)) is not None)
    hold(f"{balancer_host.prefix}/etc/haproxy/deploy", _socket(balancer_host))
    states = balancer_host.state(pool)
    assert states[one.server]["state"] == "DRAIN"
    assert states[two.server]["state"] == "UP"
    balancer_host.raw(f"set server shop-prod/{one.server} state ready")
    assert balancer_host.call("recover", pool, run="run-2") == {
        "admitted": [two.server],
        "held_again": [one.server],
    }
    assert balancer_host.state(pool)[one.server]["state"] == "DRAIN"


def test_a_server_put_in_before_others_moves_no_state(balancer_host: House) -> None:
    one, two, three = (balancer_host.web(f"web{number}") for number in (1, 2, 3))
    pool = balancer_host.pool("shop", two, three)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[two.server])
    grown = balancer_host.pool("shop", one, two, three)
    balancer_host.apply(grown)
    states = {name: state["state"] for name, state in balancer_host.state(grown).items()}
    assert states == {one.server: "MAINT", two.server: "DRAIN", three.server: "UP"}


def test_a_server_that_is_added_gets_no_request_before_it_is_admitted(balancer_host: House) -> None:
    """HAProxy itself takes a new server for UP until its first check, and nothing listens there yet."""
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    two.stop()
    pool, grown = balancer_host.pool("shop", one), balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    with traffic(balancer_host.port) as count:
        for wanted in (grown, pool, grown, pool, grown):
            balancer_host.install(balancer_host.adapter.resources(wanted))
            assert balancer_host.notify().returncode == 0
        done, failed = count()
    assert (done > 50, failed) == (True, 0)
    state = balancer_host.state(grown)[two.server]
    assert (state["state"], state["held"]) == ("MAINT", None)
    two.start()
    balancer_host.call("admit", grown, servers=[two.server])
    assert balancer_host.state(grown)[two.server]["serves"]


def test_a_spare_slot_stays_out_until_it_is_used_and_then_stays_in(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("retire", pool, servers=[two.server])
    _reload_by_somebody(balancer_host)
    assert balancer_host.state(pool)[two.server]["state"] == "MAINT"
    assert balancer_host.state(pool)[two.server]["held"]["by"] == "spare"
    balancer_host.call("admit", pool, servers=[two.server])
    balancer_host.call("drain", pool, servers=[one.server])
    balancer_host.call("retire", pool, servers=[one.server])
    _reload_by_somebody(balancer_host)
    states = balancer_host.state(pool)
    assert (states[one.server]["state"], states[two.server]["state"]) == ("MAINT", "UP")
    assert (states[one.server]["held"]["by"], states[two.server]["held"]) == ("spare", None)
    assert balancer_host.get()[1].startswith("web2")


def test_requests_that_an_older_worker_still_serves_count(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(balancer_host.get, "/slow")
        until("the slow request is in flight", lambda: web.busy == 1)
        _reload_by_somebody(balancer_host)
        early = balancer_host.call("drain", pool, servers=[web.server], timeout=0.5)["servers"][web.server]
        late = threads.submit(balancer_host.call, "drain", pool, servers=[web.server], timeout=20)
        web.release.set()
        assert slow.result()[0] == 200
        assert late.result()["servers"][web.server]["drained"] is True
    assert early == {**early, "drained": False, "remaining": 1}
    until("the older worker ends", lambda: not workers.older(worker(_socket(balancer_host)) or 0))


def test_a_rolling_restart_under_traffic_loses_no_request(balancer_host: House) -> None:
    programs = [Program("web1"), Program("web2")]
    servers = tuple(Server(server_name(each.name, each.port), "127.0.0.1", each.port) for each in programs)
    pool = balancer_host.pool("shop", servers=servers)
    try:
        balancer_host.apply(pool)
        with traffic(balancer_host.port) as count:
            for _ in range(2):
                for server, program in zip(servers, programs, strict=True):
                    answer = balancer_host.call("drain", pool, servers=[server.name], timeout=10)
                    assert answer["servers"][server.name]["drained"]
                    program.kill()
                    program.start()
                    balancer_host.call("admit", pool, servers=[server.name], wait=20)
            done, failed = count()
    finally:
        for program in programs:
            program.kill()
    assert done > 100
    assert failed == 0


def test_adding_a_second_app_loses_no_request_of_the_first(balancer_host: House) -> None:
    one, two, blog = balancer_host.web("web1"), balancer_host.web("web2"), balancer_host.web("blog")
    shop = balancer_host.pool("shop", one, two, domains=("shop.example.com", "www.example.com"))
    balancer_host.apply(shop)
    own = Path(f"{balancer_host.prefix}/etc/haproxy/deploy/50-shop-prod.cfg")
    before = own.read_bytes()
    second = balancer_host.pool("blog", blog, domains=("blog.example.com",))
    with traffic(balancer_host.port) as count:
        for _ in range(3):
            balancer_host.apply(second)
        until("the second app serves", lambda: balancer_host.get("/", "blog.example.com")[0] == 200)
        done, failed = count()
    assert done > 50
    assert failed == 0
    assert balancer_host.get("/", "Blog.Example.com:8080")[1].startswith("blog ")
    assert balancer_host.get("/", "www.example.com")[1].startswith("web")
    assert balancer_host.get("/", "nobody.example.com")[0] == 404
    assert own.read_bytes() == before


def test_two_apps_for_every_name_on_one_address_are_refused(balancer_host: House) -> None:
    web, other = balancer_host.web("web1"), balancer_host.web("web2")
    balancer_host.apply(balancer_host.pool("shop", web))
    balancer_host.install(balancer_host.adapter.resources(balancer_host.pool("blog", other)))
    done = balancer_host.notify()
    assert done.returncode == 1
    assert "blog in prod and shop in prod both want every request at 127.0.0.1:" in done.stderr
    assert balancer_host.get()[1].startswith("web1")


def test_an_app_that_went_leaves_its_address(balancer_host: House) -> None:
    web, other = balancer_host.web("web1"), balancer_host.web("web2")
    shop, blog = balancer_host.pool("shop", web), balancer_host.pool("blog", other, domains=("b.example.com",))
    balancer_host.apply(shop, blog)
    folder = Path(balancer_host.prefix) / "etc/haproxy/deploy"
    for path in _files_of("shop", folder):
        path.unlink()
    balancer_host.apply()
    assert balancer_host.get("/", "b.example.com")[0] == 200
    assert balancer_host.get("/", "shop.example.com")[0] == 404
    for path in _files_of("blog", folder):
        path.unlink()
    balancer_host.apply()
    assert sorted(path.name for path in folder.iterdir()) == ["00-deploy.cfg", "closed.map", "routes"]
    with socket.socket() as probe:
        until("nobody listens", lambda: probe.connect_ex(("127.0.0.1", balancer_host.port)) != 0)


def _files_of(app: str, folder: Path) -> list[Path]:
    return [folder / name.format(app) for name in ("50-{}-prod.cfg", "routes/{}-prod.json", "maintenance-{}-prod.html")]


def test_an_address_that_somebody_has_is_refused_and_the_old_configuration_serves_on(balancer_host: House) -> None:
    web, other = balancer_host.web("web1"), balancer_host.web("web2")
    balancer_host.apply(balancer_host.pool("shop", web))
    worker_before = worker(_socket(balancer_host))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        balancer_host.install(balancer_host.adapter.resources(balancer_host.pool("blog", other, listen=place)))
        done = balancer_host.notify()
    assert done.returncode == 1
    assert f"{place} is taken on this host" in done.stderr
    assert worker(_socket(balancer_host)) == worker_before
    assert balancer_host.get()[0] == 200


def test_the_hosts_own_frontend_on_that_address_is_seen_too(balancer_host: House) -> None:
    web, other = balancer_host.web("web1"), balancer_host.web("web2")
    folder = Path(balancer_host.prefix) / "etc/haproxy/deploy"
    theirs = (
        f"frontend theirs from deploy\n    bind 127.0.0.1:{balancer_host.port}\n    http-request return status 200\n"
    )
    (folder / "45-theirs.cfg").write_text(theirs)
    assert balancer_host.notify().returncode == 0
    balancer_host.install(balancer_host.adapter.resources(balancer_host.pool("shop", web, other)))
    done = balancer_host.notify()
    assert done.returncode == 1
    assert "is taken on this host, by another program or by HAProxy's own configuration" in done.stderr


def test_a_configuration_that_haproxy_refuses_changes_nothing(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    balancer_host.apply(balancer_host.pool("shop", web))
    folder = Path(balancer_host.prefix) / "etc/haproxy/deploy"
    maps = {path.name: path.read_text() for path in folder.glob("*.map")}
    balancer_host.install(balancer_host.adapter.resources(balancer_host.pool("blog", web, domains=("b.example.com",))))
    (folder / "50-blog-prod.cfg").write_text("backend blog-prod from deploy\n    nosuch word\n")
    done = balancer_host.notify()
    assert done.returncode == 1
    assert re.search(r"50-blog-prod.cfg:2.*unknown keyword .nosuch.", done.stderr)
    assert {path.name: path.read_text() for path in folder.glob("*.map")} == maps
    assert balancer_host.get()[0] == 200


@pytest.mark.more
def test_a_stats_socket_that_was_removed_is_opened_again_and_nobody_notices(balancer_host: House) -> None:
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    pool = balancer_host.pool("shop", one, two)
    balancer_host.apply(pool)
    balancer_host.call("drain", pool, servers=[one.server])
    base = Path(f"{balancer_host.prefix}/etc/haproxy/deploy/00-deploy.cfg")
    text = base.read_text()
    Path(_socket(balancer_host)).unlink()
    with traffic(balancer_host.port) as count:
        ended = balancer_host.notify()
        done, failed = count()
    assert ended.returncode == 0, ended.stderr
    assert (done > 10, failed, base.read_text()) == (True, 0, text)
    assert balancer_host.state(pool)[one.server]["state"] == "DRAIN"
    _reload_by_somebody(balancer_host)
