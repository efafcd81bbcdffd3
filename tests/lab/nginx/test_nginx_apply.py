"""A changed pool goes live, or everything stays as it was and the reason is said; no request is lost either way."""

from __future__ import annotations

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.balanced import Program, until
from support.real_nginx import House
from support.traffic import traffic

from deployer.agent.system import tcp_connections
from deployer.balancers import Server, server_name

pytestmark = pytest.mark.lab


def refused(balancer_host: House, **apps: Any) -> str:
    """What is said about these pools, which cannot go live together."""
    for pool in apps.values():
        balancer_host.install(balancer_host.adapter.resources(pool))
    done = balancer_host.notify()
    assert done.returncode == 1, done.stdout
    return done.stderr


def own(balancer_host: House, text: str) -> None:
    """A site that the host had before."""
    Path(balancer_host.prefix, "etc/nginx/conf.d/own.conf").write_text(text)


def test_a_second_app_and_a_second_server_cost_nobody_a_request(balancer_host: House, tmp_path: Path) -> None:
    programs = [Program("web1"), Program("web2")]
    try:
        servers = [Server(server_name(each.name, each.port), "127.0.0.1", each.port) for each in programs]
        pool = balancer_host.pool("shop", servers=(servers[0],), domains=("shop.example.com",))
        balancer_host.apply(pool)
        before = Path(balancer_host.prefix, "etc/nginx/deploy/50-shop-prod.conf").read_text()
        address = f"127.0.0.1:{balancer_host.port}"
        with traffic(address, tmp_path / "log", mix="get", host_header="shop.example.com") as users:
            blog = balancer_host.pool("blog", balancer_host.web("blog"), domains=("blog.example.com",))
            balancer_host.apply(blog)
            assert balancer_host.get(host="blog.example.com")[1].startswith("blog")
            assert Path(balancer_host.prefix, "etc/nginx/deploy/50-shop-prod.conf").read_text() == before
            balancer_host.apply(balancer_host.pool("shop", servers=tuple(servers), domains=("shop.example.com",)))
        assert users.receipt is not None
        assert (users.receipt.failed, users.receipt.causes) == (0, {})
        assert users.receipt.requests > 20
        # Two reloads: each closes the idle connections of its moment.
        assert users.receipt.stale <= 2 * 3
    finally:
        for program in programs:
            program.kill()


def test_who_asks_an_older_worker_gets_what_the_pool_has_now(balancer_host: House) -> None:
    old, new = balancer_host.web("old"), balancer_host.web("new")
    balancer_host.apply(balancer_host.pool("shop", old))
    with ExitStack() as users:
        asking = []
        for _ in range(2):
            asking.append(users.enter_context(socket.create_connection(("127.0.0.1", balancer_host.port), 20)))
            asking[-1].sendall(b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n")
        assert balancer_host.get()[1].startswith("old")  # those before it are accepted
        blog = balancer_host.pool("blog", new, domains=("blog.example.com",))
        for pool in (balancer_host.pool("shop", new), blog):
            balancer_host.apply(pool)
            user = asking.pop()
            user.sendall(b"Connection: close\r\n\r\n")
            answer = http.client.HTTPResponse(user)
            answer.begin()
            assert (answer.status, answer.read().decode()[:3]) == (200, "new")


def test_names_that_no_app_serves_get_404_and_names_may_be_long(balancer_host: House) -> None:
    long = "a" * 60 + "." + "b" * 60 + ".example.com"
    balancer_host.apply(balancer_host.pool("shop", balancer_host.web("web1"), domains=(long, "shop.example.com")))
    assert balancer_host.get(host=long)[0] == 200
    assert balancer_host.get(host="other.example.com") == (404, "no app serves this name here\n")
    balancer_host.apply(balancer_host.pool("all", balancer_host.web("web2")))
    assert balancer_host.get(host="other.example.com")[1].startswith("web2")
    assert balancer_host.get(host=long)[1].startswith("web1")


def test_two_apps_with_one_name_or_without_any_are_refused_by_name(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    shop = balancer_host.pool("shop", web, domains=("shop.example.com",))
    balancer_host.apply(shop)
    text = refused(balancer_host, blog=balancer_host.pool("blog", web, domains=("shop.example.com",)))
    assert text.startswith("blog in prod and shop in prod both serve shop.example.com at 127.0.0.1:")
    balancer_host.apply(balancer_host.pool("blog", web))
    text = refused(balancer_host, wiki=balancer_host.pool("wiki", web))
    assert "blog in prod and wiki in prod both want every request at 127.0.0.1:" in text
    assert balancer_host.get()[1].startswith("web1")


def test_an_address_that_another_program_has_is_refused(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    balancer_host.apply(balancer_host.pool("shop", web))
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        text = refused(balancer_host, blog=balancer_host.pool("blog", web, listen=listen))
    assert f"{listen} is taken on this host" in text
    assert "blog in prod" in text
    assert balancer_host.get()[0] == 200


def test_a_site_that_the_host_had_keeps_its_names_and_its_default(balancer_host: House) -> None:
    listen = f"127.0.0.1:{balancer_host.port}"
    own(balancer_host, f"server {{ listen {listen} default_server; server_name own.example.com; return 200 own; }}\n")
    web = balancer_host.web("web1")
    text = refused(balancer_host, shop=balancer_host.pool("shop", web))
    assert f"shop in prod wants every request at {listen}" in text
    assert "conf.d/own.conf has its own default_server there" in text
    own(balancer_host, f"server {{ listen {listen}; server_name ~^own[0-9]; return 200 own; }}\n")
    assert "has names that are regular expressions there" in refused(
        balancer_host, shop=balancer_host.pool("shop", web)
    )
    own(balancer_host, f"server {{ listen {listen} default_server; server_name own.example.com; return 200 own; }}\n")
    text = refused(balancer_host, shop=balancer_host.pool("shop", web, domains=("own.example.com",)))
    assert "serves own.example.com at" in text
    balancer_host.apply(balancer_host.pool("shop", web, domains=("shop.example.com",)))
    assert balancer_host.get()[1].startswith("web1")
    assert balancer_host.get(host="own.example.com")[1] == "own"
    assert balancer_host.get(host="other.example.com")[1] == "own"


def test_settings_that_the_host_has_made_itself_are_not_made_twice(balancer_host: House) -> None:
    own(balancer_host, "server_names_hash_bucket_size 256;\n")
    balancer_host.apply(balancer_host.pool("shop", balancer_host.web("web1")))
    assert balancer_host.get()[0] == 200


def test_what_nginx_refuses_changes_nothing(balancer_host: House) -> None:
    balancer_host.apply(balancer_host.pool("shop", balancer_host.web("web1")))
    own(balancer_host, "serve {}\n")
    done = balancer_host.notify()
    assert done.returncode == 1
    assert 'unknown directive "serve"' in done.stderr
    assert balancer_host.get()[0] == 200


def test_an_nginx_that_does_not_include_our_file_is_told_so(balancer_host: House) -> None:
    balancer_host.main.write_text(balancer_host.main.read_text().replace("conf.d/*.conf", "conf.d/*.none"))
    text = refused(balancer_host, shop=balancer_host.pool("shop", balancer_host.web("web1")))
    assert "has no `include /etc/nginx/conf.d/*.conf;`" in text


def test_requests_that_an_older_worker_still_serves_count(balancer_host: House) -> None:
    web = balancer_host.web("web1")
    pool = balancer_host.pool("shop", web)
    balancer_host.apply(pool)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(balancer_host.get, "/slow")
        until("the slow request is in flight", lambda: web.busy == 1)
        assert balancer_host.notify().returncode == 0
        early = balancer_host.call("drain", pool, servers=[web.server], timeout=0.5)["servers"][web.server]
        late = threads.submit(balancer_host.call, "drain", pool, servers=[web.server], timeout=20)
        web.release.set()
        assert slow.result()[0] == 200
        assert late.result()["servers"][web.server]["drained"] is True
    assert early == {**early, "drained": False, "remaining": 1}
    until("the older workers end", lambda: len(tcp_connections.children(balancer_host.master)) == 2)
