"""The URL of the probe is asked before a run changes anything, and what it answered decides what is a failure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from scripted import OLD, Rollout, World
from support.loopback import free_port
from support.topologies import topology

from deployer.errors import InterruptedRun, NotReadyError, RolloutError, UsageError
from deployer.events import Warned
from deployer.plan.model import Plan
from deployer.rollout.traffic import probe_url
from deployer.rollout.traffic.probe_url import answered_or_left_out, require_answer
from deployer.rollout.traffic.receipt import Watch, probe_traffic


class Site(ThreadingHTTPServer):
    """What users reach: it answers with `status`, after the ones that are to come first. `asked` counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.location, self.asked = 200, "", 0
        self.first: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/version"

    def handle_error(self, *_: Any) -> None:
        """A client that has gone is none of ours."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(self.server.first.pop(0) if self.server.first else self.server.status)
        self.send_header("Content-Length", "0")
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a better answer."""
    monkeypatch.setattr(probe_url, "_PATIENCE", 0.0)


def rollout(url: str, *, release: str | None = OLD, **settings: Any) -> Rollout:
    probe = {"url": url, "rate": 100}
    return Rollout(World(topology(2, 1, rolling={"probe": probe, "soak": 0}, **settings), release=release))


def warnings(of: Rollout) -> list[str]:
    return [event.message for event in of.events if isinstance(event, Warned)]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("status", [400, 404, 403, 503])
def test_a_url_that_answers_nobody_refuses_the_run(site: Site, status: int) -> None:
    site.status = status
    asking = rollout(site.url, domains=[])
    with pytest.raises(NotReadyError) as refused:
        require_answer(asking.run, asking.plan)
    error = refused.value
    assert error.message == f"the probe's URL {site.url} answers {status}; it would measure nothing"
    assert (error.exit_status, error.code, error.step, error.cause) == (3, "probe_url", "probe", None)
    assert error.hint == "--probe takes a URL that answers users; --probe off goes without one"


@pytest.mark.usefixtures("hasty")
def test_a_host_that_the_balancer_does_not_serve_is_said_to_be_one(site: Site) -> None:
    site.status = 404
    asking = rollout(site.url, domains=["a.example.com", "*.example.org"])
    with pytest.raises(NotReadyError) as refused:
        require_answer(asking.run, asking.plan)
    assert refused.value.cause == "its Host is 127.0.0.1, and the balancer serves a.example.com, *.example.org"
    port = site.server_address[1]
    assert str(refused.value.hint).startswith(f"--probe http://a.example.com:{port}/version, with a name that leads")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("domain", ["127.0.0.1", "*.0.0.1"])
def test_a_host_that_it_does_serve_is_not_blamed(site: Site, domain: str) -> None:
    site.status = 404
    asking = rollout(site.url, domains=[domain])
    with pytest.raises(NotReadyError) as refused:
        require_answer(asking.run, asking.plan)
    assert refused.value.cause is None


@pytest.mark.usefixtures("hasty")
def test_a_url_that_cannot_be_reached_refuses_the_run() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    asking = rollout(url)
    with pytest.raises(NotReadyError) as refused:
        require_answer(asking.run, asking.plan)
    assert refused.value.message == f"the probe's URL {url} does not answer; it would measure nothing"
    assert refused.value.cause == "refused: nothing listens"
    assert "that this machine reaches" in str(refused.value.hint)


@pytest.mark.usefixtures("hasty")
def test_who_goes_back_is_not_held_up_by_what_is_broken(site: Site) -> None:
    site.status = 503
    back = rollout(site.url, domains=[])
    answered_or_left_out(back.run, back.plan)
    assert warnings(back) == [
        f"the probe's URL {site.url} answers 503; it would measure nothing, so the probe is left out"
    ]
    with probe_traffic(back.run, back.plan) as watch:
        assert watch.prober is None


def test_it_is_asked_until_it_has_answered(site: Site) -> None:
    site.first = [503, 404]
    asking = rollout(site.url)
    require_answer(asking.run, asking.plan)
    assert site.asked == 3 and not warnings(asking)


def test_a_person_need_not_wait_for_it(site: Site) -> None:
    site.status = 404
    asking = rollout(site.url)
    asking.stop.set()
    began = time.monotonic()
    with pytest.raises(InterruptedRun):
        require_answer(asking.run, asking.plan)
    assert time.monotonic() - began < 2


def _nothing_to_change(plan: Plan) -> Plan:
    return replace(plan, waves=(), kept=plan.steps)


def test_a_run_with_nothing_to_change_asks_nothing(site: Site) -> None:
    site.status = 404
    asking = rollout(site.url)
    require_answer(asking.run, _nothing_to_change(asking.plan))
    assert site.asked == 0


def test_during_maintenance_nothing_is_asked_and_nothing_probed(site: Site) -> None:
    site.status = 503
    asking = rollout(site.url)
    asking.world.maintenance = {"since": 0.0, "who": "me@here", "reason": "a new database"}
    require_answer(asking.run, asking.plan)
    with probe_traffic(asking.run, asking.plan) as watch:
        watch.require_few()
    assert site.asked == 0 and asking.record.probe is None
    assert len(warnings(asking)) == 1 and "a new database" in warnings(asking)[0]


def test_where_nobody_serves_there_is_nothing_to_ask_for(site: Site) -> None:
    asking = rollout(site.url, release=None)
    require_answer(asking.run, asking.plan)
    assert site.asked == 0


def test_a_url_that_is_none_is_found_even_then() -> None:
    asking = rollout("http://127.0.0.1:99999/", release=None)
    with pytest.raises(UsageError):
        require_answer(asking.run, asking.plan)


def test_a_redirect_to_https_is_told_since_it_may_be_the_balancers(site: Site) -> None:
    site.status, site.location = 301, "https://127.0.0.1/version"
    asking = rollout(site.url)
    require_answer(asking.run, asking.plan)
    (told,) = [event for event in asking.events if isinstance(event, Warned)]
    assert "leads to https://127.0.0.1/version" in told.message and told.hint == "--probe https://127.0.0.1/version"


def seen(watch: Watch, of: str = "requests") -> None:
    """Waits until the probe has some more of these."""
    assert watch.prober is not None
    before, deadline = getattr(watch.prober.snapshot(), of), time.monotonic() + 20
    while getattr(watch.prober.snapshot(), of) < before + 3:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_release_that_no_longer_has_the_page_fails_the_run(site: Site) -> None:
    asking = rollout(site.url)
    with probe_traffic(asking.run, asking.plan) as watch:
        seen(watch)
        watch.require_few()
        site.status = 404
        seen(watch, "failed")
        with pytest.raises(RolloutError, match="requests of the probe failed"):
            watch.require_few()
    assert asking.record.probe is not None and asking.record.probe["causes"].keys() == {"status"}


def test_where_nobody_served_the_probe_begins_after_the_first_wave(site: Site) -> None:
    site.status = 503
    asking = rollout(site.url, release=None)
    with probe_traffic(asking.run, asking.plan) as watch:
        watch.begin()
        assert watch.prober is None and site.asked == 1
        site.status = 200
        watch.require_few()
        seen(watch)
        watch.require_few()
        site.status = 404
        seen(watch, "failed")
        with pytest.raises(RolloutError):
            watch.require_few()
    assert asking.record.probe is not None and asking.record.probe["requests"] > 3


@pytest.mark.usefixtures("hasty")
def test_a_first_push_is_not_gated_by_a_url_that_does_not_answer(site: Site) -> None:
    site.status = 404
    asking = rollout(site.url, release=None)
    with probe_traffic(asking.run, asking.plan) as watch:
        watch.require_few()
        watch.require_few()
    assert warnings(asking) == [f"the probe is left out: {site.url} answers 404"] and asking.record.probe is None


def test_what_others_serve_before_the_first_push_is_measured_from_the_start(site: Site) -> None:
    asking = rollout(site.url, release=None)
    with probe_traffic(asking.run, asking.plan) as watch:
        seen(watch)
        watch.require_few()
    assert asking.record.probe is not None and asking.record.probe["failed"] == 0


def test_an_ipv6_address_keeps_its_brackets_in_another_url() -> None:
    assert probe_url._as("http://[::1]:8080/version", scheme="https") == "https://[::1]/version"
