"""A web host loses power, before a push or in the middle of a wave, and comes back with the release it had.

It must not serve that one any more: until a push has proven a release there, it is in quarantine. Users are there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from support.hit import RATE, App, Fleet, until
from support.kills import answer
from support.labs import fresh_name

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(900)]

MIX = "http"
"""No websockets: one that is open when power is lost is lost with it."""

SERVED = 60
"""Requests that are looked at to tell who serves."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    name = fresh_name()
    try:
        lab = up(LabSpec(name=name, hosts=3), print)
        fleet = Fleet(lab, tmp_path_factory.mktemp("lost"), "lost")
        made = fleet.apps["lost"]
        made.doors.close()
        made.let_users_in(RATE, MIX)
        yield made
        fleet.close()
    finally:
        down(name, print)


@pytest.fixture(autouse=True)
def unnoticed(app: App) -> Iterator[None]:
    """Afterwards the next push brings all to one release, and no request has failed."""
    yield
    healed = app.deploy("push")
    assert healed.last["outcome"] == "succeeded", healed.summary
    assert set(app.serving().values()) == {healed.release} and app.truth.serving()
    assert app.seen().failed == 0, app.seen()


def budget(app: App, most: int, missing: int = 2) -> None:
    """`rolling.max_failures`, and a new version to push. No request outlives the drain: power loss would end it."""
    rolling = {"drain_timeout": "20s", "soak": "500ms", "waves": [1], "max_unavailable": missing, "max_failures": most}
    app.project.settings({"rolling": rolling})
    app.project.version(time.time_ns())


def answering(app: App) -> set[str]:
    """The releases that answer users from now on, in enough requests to have met every server that serves."""
    before = app.seen()
    until("requests", lambda: app.seen().requests >= before.requests + SERVED, limit=60)
    after = app.seen()
    return {release for release, count in after.releases.items() if count > before.releases.get(release, 0)}


def off(app: App, host: str) -> None:
    """Power is lost while no request is under way there, and the balancer has noticed."""
    app.doors.close()
    app.truth.lab.power_off(host)
    until("the balancer has noticed", lambda: app.truth.pool()[f"{host}-8200"] == "DOWN")
    app.let_users_in(RATE, MIX)


def back(lab: Lab, app: App, host: str, release: str) -> None:
    """The host is on again, and its instance answers with what it had."""
    lab.power_on(host)
    until(f"{host} serves", lambda: answer(app, f"{host}-8200") == release, limit=60)


@pytest.mark.parametrize(("most", "ends"), [(1, 8), (0, 6)], ids=["within-the-budget", "beyond-it"])
def test_power_is_lost_in_the_middle_of_a_wave(app: App, most: int, ends: int) -> None:
    lab, old = app.truth.lab, app.truth.current("web1")
    budget(app, most)
    run = app.controller = app.push()
    run.until_true("web2 is being stopped", lambda: run.run and app.truth.reached("web2", run.run, "stop"))
    lab.power_off("web2")
    back(lab, app, "web2", old)
    last = run.end(within=180)
    assert last["exit_status"] == ends, run.summary
    assert "web2:0" in last["error"]["message"]
    assert app.truth.held()["web2-8200"]["by"] == "quarantine"
    assert app.truth.pool() == {"web1-8200": "UP", "web2-8200": "DRAIN", "web3-8200": "UP"}
    assert answer(app, "web2-8200") == old, "it would serve the old release"
    assert answering(app) == {run.release if most else old}


def test_a_host_that_is_off_when_the_push_begins(app: App) -> None:
    lab, old = app.truth.lab, app.truth.current("web1")
    off(app, "web3")
    budget(app, 0)
    refused = app.deploy("push", expect=3)
    assert refused.error["host"] == "web3" and refused.error["step"] == "connect"
    budget(app, 1)
    done = app.deploy("push", expect=8)
    assert "web3:0 stayed behind" in done.error["message"]
    assert [each["host"] for each in done.of("warning")] == ["web3"]
    back(lab, app, "web3", old)
    assert app.truth.held()["web3-8200"]["by"] == "quarantine"
    expected = {"web1-8200": "UP", "web2-8200": "UP", "web3-8200": "DRAIN"}
    until("its health check passes, and it stays out", lambda: app.truth.pool() == expected)
    assert answering(app) == {done.release}


def test_where_the_lost_host_is_all_that_may_be_missing_the_next_changes_beside_what_serves(app: App) -> None:
    """Last of all, since web3 is in its other slot then. It is off for the rest of the run: nobody else may leave."""
    lab = app.truth.lab
    old = app.truth.current("web1")
    budget(app, 1, missing=1)
    run = app.controller = app.push()
    run.until_true("web2 is being stopped", lambda: run.run and app.truth.reached("web2", run.run, "stop"))
    lab.power_off("web2")
    last = run.end(within=180)
    assert last["exit_status"] == 8 and "web2:0 stayed behind" in last["error"]["message"], run.summary
    serving = {name for name, state in app.truth.pool().items() if state == "UP"}
    assert serving == {"web1-8200", "web3-8700"}
    assert answering(app) == {run.release}
    back(lab, app, "web2", old)
    assert app.truth.held()["web2-8200"]["by"] == "quarantine"
    assert answering(app) == {run.release}
