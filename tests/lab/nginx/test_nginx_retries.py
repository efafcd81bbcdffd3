"""What is asked of another server, and what never is: a request that an app has seen, unless it is safe to repeat."""

from __future__ import annotations

import http.client
import json
import os
import socketserver
import threading
from pathlib import Path

import pytest
from support.balanced import Web
from support.loopback import free_port
from support.real_nginx import House

from deployer.balancers import Pool

pytestmark = pytest.mark.lab


@pytest.fixture
def webs(balancer_host: House) -> tuple[Web, Web]:
    """Two instances, live."""
    one, two = balancer_host.web("web1"), balancer_host.web("web2")
    balancer_host.apply(balancer_host.pool("shop", one, two))
    return one, two


def seen(webs: tuple[Web, Web]) -> int:
    """How many requests reached an app."""
    return sum(len(web.asked) for web in webs)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_where_nobody_listens_another_is_asked(method: str, balancer_host: House, webs: tuple[Web, Web]) -> None:
    webs[0].stop()
    assert [balancer_host.ask(method)[0] for _ in range(10)] == [200] * 10
    assert seen(webs) == len(webs[1].asked) == 10


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_an_app_has_seen_is_not_repeated(method: str, balancer_host: House, webs: tuple[Web, Web]) -> None:
    assert [balancer_host.ask(method, "/drop")[0] for _ in range(5)] == [502] * 5
    assert seen(webs) == 5


def test_what_is_safe_to_repeat_is_asked_of_every_server_once(balancer_host: House, webs: tuple[Web, Web]) -> None:
    assert balancer_host.ask("GET", "/drop")[0] == 503
    assert (webs[0].asked, webs[1].asked) == (["/drop"], ["/drop"])


@pytest.mark.parametrize("status", [403, 404, 418, 429, 500, 502, 503, 504])
def test_an_apps_own_errors_are_its_own(status: int, balancer_host: House, webs: tuple[Web, Web]) -> None:
    for method in ("GET", "POST"):
        answer = balancer_host.ask(method, f"/says/{status}")
        assert (answer[0], answer[1].split()[0]) == (status, "web1" if webs[0].asked else "web2")
        assert "X-Deploy-Next" not in answer[2]
        assert seen(webs) == 1
        for web in webs:
            web.asked.clear()


def test_a_listener_that_ends_without_a_word_gets_nothing_repeated(balancer_host: House, webs: tuple[Web, Web]) -> None:
    """As when a worker of nginx dies with a request in hand: nobody knows whether an app has seen it."""
    pool = balancer_host.pool("shop", *webs)
    route = json.loads(Path(balancer_host.adapter.driver(pool)["route"]).read_text())
    path = route["servers"][webs[0].server]["socket"]
    os.rename(path, path + ".real")
    taken: list[bytes] = []

    class Dying(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            taken.append(self.request.recv(65536))

    with socketserver.ThreadingUnixStreamServer(path, Dying) as dying:
        os.chmod(path, 0o666)
        threading.Thread(target=dying.serve_forever, args=(0.02,), daemon=True).start()
        answers = [balancer_host.ask(method)[:2] for method in ("POST", "PUT", "POST", "POST") * 3]
        dying.shutdown()
    os.rename(path + ".real", path)
    assert {status for status, _ in answers} == {200, 502}
    assert [status for status, _ in answers].count(502) == len(taken)
    assert len(taken) + seen(webs) == 12


def test_users_addresses_and_names_arrive_and_no_user_chooses_a_server(
    balancer_host: House, webs: tuple[Web, Web]
) -> None:
    _, text, _ = balancer_host.ask(host="Shop.example.com:8080", **{"X-Forwarded-For": "192.0.2.9"})
    assert text.split(maxsplit=1)[1] == "127.0.0.1 Shop.example.com:8080 http", "what a user claims is not believed"
    pool = balancer_host.pool("shop", *webs)
    balancer_host.call("drain", pool, servers=[webs[0].server])
    answers = {balancer_host.ask(**{"X-Deploy-Slot": webs[0].server})[1].split()[0] for _ in range(5)}
    assert answers == {"web2"}
    balancer_host.apply(balancer_host.pool("shop", *webs, trusted_proxies=("127.0.0.0/8",)))
    _, text, _ = balancer_host.ask(**{"X-Forwarded-For": "6.6.6.6, 192.0.2.9"})
    assert text.split()[1] == "192.0.2.9", "the word of a proxy that is trusted"


def test_a_server_of_the_hosts_own_leads_to_the_app_and_says_who_asks(
    balancer_host: House, webs: tuple[Web, Web]
) -> None:
    """Its TLS and its headers hold: what it says of the user arrives, and what it does not say is not made up."""
    pool = balancer_host.pool("shop", *webs, domains=("shop.example.com",))
    balancer_host.apply(pool)
    ours, told, silent = balancer_host.adapter.front(pool).backend, free_port(), free_port()
    location = "proxy_set_header Host $http_host; {} location / {{ proxy_pass http://{}; }}"
    server = f"server {{{{ listen 127.0.0.1:{{}}; {location} }}}}\n"
    say = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto https;"
    own = Path(balancer_host.prefix, "etc/nginx/conf.d/own.conf")
    own.write_text(server.format(told, say, ours) + server.format(silent, "", ours))
    assert balancer_host.notify().returncode == 0
    balancer_host.port = told
    _, text, _ = balancer_host.ask(host="any.test", **{"X-Forwarded-For": "6.6.6.6"})
    assert text.split()[1:] == ["127.0.0.1", "any.test", "https"]
    balancer_host.port = silent
    assert balancer_host.ask(host="any.test")[1].split()[1:] == ["None", "any.test", "None"]
    balancer_host.call("drain", pool, servers=[webs[0].server])
    asked = [balancer_host.ask("POST", host="any.test") for _ in range(8)]
    assert {(status, text.split()[0]) for status, text, _ in asked} == {(200, "web2")}


def test_a_stream_arrives_as_it_is_sent(balancer_host: House, webs: tuple[Web, Web]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", balancer_host.port, timeout=20)
    connection.request("GET", "/stream")
    answer = connection.getresponse()
    assert answer.read(4) == b"half"
    for web in webs:
        web.release.set()
    assert answer.read() == b"half"
    connection.close()


def test_a_large_body_goes_to_the_next_server_whole(balancer_host: House, webs: tuple[Web, Web]) -> None:
    pool: Pool = balancer_host.pool("shop", *webs)
    balancer_host.call("drain", pool, servers=[webs[0].server])
    connection = http.client.HTTPConnection("127.0.0.1", balancer_host.port, timeout=40)
    for _ in range(3):
        connection.request("POST", "/", body=b"x" * 5_000_000)
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:4]) == (200, b"web2")
    connection.close()
