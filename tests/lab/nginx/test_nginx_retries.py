"""What is asked of another server, and what never is: a request that an app has seen, unless it is safe to repeat."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from real_nginx import House
from support.balanced import Web, until

from deployer.agent import connections
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


def test_a_worker_that_dies_with_a_post_in_hand_repeats_nothing(balancer_host: House, webs: tuple[Web, Web]) -> None:
    answered, tries = 0, 0
    with ThreadPoolExecutor() as threads:
        while answered < 3:
            tries += 1
            assert tries <= 40, "the user's connection was always at the same worker as the listener's"
            post = threads.submit(balancer_host.ask, "POST", "/slow")
            until("it is in flight", lambda: sum(web.busy for web in webs) == 1)
            workers = connections.children(balancer_host.master)
            places = [f"127.0.0.1:{web.port}" for web in webs]
            (holder,) = [pid for pid in workers if set(places) & set(connections.held_by([pid]))]
            os.kill(holder, signal.SIGKILL)
            # No answer at all: the same worker held the user's connection too.
            with contextlib.suppress(OSError, http.client.HTTPException):
                assert post.result(30)[0] == 502
                answered += 1
            assert seen(webs) == tries
            for web in webs:
                web.release.set()
            until("it has ended", lambda: sum(web.busy for web in webs) == 0)
            for web in webs:
                web.release.clear()
            until("there is another worker", lambda: len(connections.children(balancer_host.master)) == 2)


def test_users_addresses_and_names_arrive_and_no_user_chooses_a_server(
    balancer_host: House, webs: tuple[Web, Web]
) -> None:
    _, text, _ = balancer_host.ask(host="Shop.example.com:8080", **{"X-Forwarded-For": "192.0.2.9"})
    assert text.split(maxsplit=1)[1] == "192.0.2.9, 127.0.0.1 Shop.example.com:8080"
    pool = balancer_host.pool("shop", *webs)
    balancer_host.call("drain", pool, servers=[webs[0].server])
    answers = {balancer_host.ask(**{"X-Deploy-Slot": webs[0].server})[1].split()[0] for _ in range(5)}
    assert answers == {"web2"}


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
