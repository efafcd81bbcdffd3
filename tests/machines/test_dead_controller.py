"""The laptop that deploys dies: whatever it had in hand, the hosts end it alone, and the next push heals.

All accidents happen first, each to an app of its own; then one wait is enough for all of them. Users are there all the
while. What may take how long is not a guess of these tests: it is what the watchdog was told for the phase in which the
accident happened, and the lease where nothing but silence told of it.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from support.hit import LOOK, RATE, SWITCHING, App, Fleet
from support.kills import Ordeal, enumerated, points
from support.labs import fresh_name
from support.points import chosen
from support.rows import Row

from deployer.agent.channel.protocol import LEASE
from deployer.lab import Lab, LabSpec, down, up
from deployer.rollout.pools.pools import QUIET_S

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1800)]

BUILD = 60.0  # seconds that an installation which had begun may hold the lock, while nothing is out of the pool
SAMPLE = ("sample1", "sample2")
ALL_SEEDS = ",".join(map(str, range(12)))


def switching(app: App) -> float:
    app.until_starting()
    return app.hit.kill()


def switched(app: App) -> float:
    app.hit.until("step.started", "checks")
    return app.hit.kill()


def all_admitted(app: App) -> float:
    app.hit.until("step.started", "soak", 2)
    return app.hit.kill()


def with_the_balancers_agent(app: App) -> float:
    """First it is stopped, so that it cannot do anything about the death of the agent."""
    app.hit.until("step.started", "checks")
    app.hit.sleep()
    app.truth.lab.exec("lb1", ["kill", "-KILL", str(app.truth.holder("lb1"))])
    return app.hit.kill()


# Those that have to wait longest come first.
DEATHS: dict[str, Callable[[App], float]] = {
    "session": switching,
    "switching": switching,
    "switched": switched,
    "unfinished": all_admitted,
    "orphaned": with_the_balancers_agent,
}


@pytest.fixture(scope="module")
def roots(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Apps that are deployed as root."""
    apps = ("switching", "switched", "unfinished", "orphaned", "queue", *SAMPLE)
    fleet = Fleet(lab, tmp_path_factory.mktemp("roots"), *apps)
    yield fleet
    fleet.close()


@pytest.fixture(scope="module")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Apps deployed by a user with sudo, on hosts where the end of a login kills all that it left behind."""
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    name = fresh_name()
    try:
        lab = up(LabSpec(name=name, hosts=3, kill_user_processes=True), print)
        fleet = Fleet(lab, tmp_path_factory.mktemp("logins"), "session", "lid", "wifi", user="deploy")
        yield fleet
        fleet.close()
    finally:
        down(name, print)


@pytest.fixture(scope="module")
def sampled(roots: Fleet) -> Iterator[Future[list[Row]]]:
    """Apps that suffer a point each, of all the points of a push, while the others have their accidents and wait."""
    apps = [roots.apps[name] for name in SAMPLE]
    turns = threading.Semaphore(1)

    def suffer() -> list[Row]:
        every = points("push", enumerated(apps[0], "push"), sorted(roots.lab.hosts))
        chosen_ones = chosen(every, str(len(apps)), int(os.environ.get("SEED") or 1))
        with ThreadPoolExecutor(len(apps)) as pool:
            return list(pool.map(lambda app, point: Ordeal(app, turns).suffer(point), apps, chosen_ones))

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(suffer)


@pytest.fixture(scope="module")
def hit(roots: Fleet, logins: Fleet, sampled: object) -> Iterator[dict[str, App]]:
    """Every accident has happened, one after the other; from its moment on somebody watches what comes of each."""
    apps = {**roots.apps, **logins.apps}
    with ThreadPoolExecutor(len(apps)) as watchers:

        def watch(app: App, moment: float, slack: float = LOOK) -> None:
            app.recovery = watchers.submit(app.truth.recovers, app.hit.run, moment, slack)

        lid, wifi = apps["lid"], apps["wifi"]
        lid.begin()
        lid.until_starting()
        watch(lid, lid.hit.sleep(), LEASE + LOOK)
        for name, death in DEATHS.items():
            apps[name].begin()
            watch(apps[name], death(apps[name]))
        wifi.begin().until("step.started", "checks")
        for host in sorted(logins.lab.hosts, key=lambda name: name != "lb1"):
            logins.lab.cut(host)
        watch(wifi, time.monotonic(), LEASE + LOOK)
        yield apps


def test_a_push_before_it_is_over_is_told_who_has_the_lock(hit: dict[str, App]) -> None:
    queue = hit["queue"]
    queue.begin()
    switching(queue)
    refused = queue.deploy("push", expect=4)
    assert refused.error["code"] == "locked"
    assert queue.hit.run in refused.error["message"]
    lines = queue.project.show("status", *queue.user)
    assert f"run {queue.hit.run}" in lines, lines
    assert "held out by run" in lines
    queue.waiting = queue.push("--wait", "5m")


def test_the_laptop_dies_between_the_switch_and_the_way_back_into_the_pool(hit: dict[str, App]) -> None:
    app = hit["switched"]
    app.recovered(QUIET_S)
    assert app.serving() == {"web1": app.hit.release, "web2": app.first, "web3": app.first}
    app.deploy("push", "--release", "current")
    assert set(app.serving().values()) == {app.first}
    assert app.heals() == app.hit.release


def test_the_laptop_dies_before_the_release_is_the_current_one(hit: dict[str, App]) -> None:
    """All instances serve it, and nothing is left to change but what hosts remember."""
    app = hit["unfinished"]
    app.recovered(QUIET_S, 0.0)  # nothing is drained, so the watchdog may be gone before anybody looks
    assert set(app.serving().values()) == {app.hit.release}
    assert {app.truth.current(host) for host in app.serving()} == {app.first}
    assert app.heals() == app.hit.release
    assert {app.truth.current(host) for host in app.serving()} == {app.hit.release}


def test_the_balancers_agent_dies_with_the_laptop(hit: dict[str, App]) -> None:
    """Then the watchdog is the only one who is left."""
    app = hit["orphaned"]
    app.recovered(QUIET_S)
    admitted = [line for line in app.truth.ledger("lb1") if line.get("event") == "admitted"]
    assert [line["run"] for line in admitted] == [app.hit.run]
    assert "agent was not alive" in admitted[0]["why"]
    app.heals()


def test_the_laptop_dies_in_the_middle_of_a_switch(hit: dict[str, App]) -> None:
    """The host goes on alone to the release that it was given, for that one proves itself."""
    app = hit["switching"]
    app.recovered(SWITCHING)
    assert app.serving() == {"web1": app.hit.release, "web2": app.first, "web3": app.first}
    assert app.heals() == app.hit.release


def test_the_end_of_the_login_does_not_end_what_it_was_doing(hit: dict[str, App]) -> None:
    """With `KillUserProcesses=yes` logind kills everything in the session of a user who has gone."""
    app = hit["session"]
    app.recovered(SWITCHING)
    # The links are cut by now, so only what is on the hosts can be asked.
    app.is_whole()


def test_the_laptop_lid_closes_mid_wave_and_opens_when_all_is_over(hit: dict[str, App]) -> None:
    lid, wifi, session = hit["lid"], hit["wifi"], hit["session"]
    lid.recovered(SWITCHING)
    wifi.recovered(QUIET_S)
    given_up = wifi.hit.end()
    for host in lid.truth.lab.hosts:
        lid.truth.lab.mend(host)
    lid.hit.wake()
    woken = lid.hit.end()
    assert woken["exit_status"] not in (0, 5), woken
    assert given_up["exit_status"] not in (0, 5), given_up
    assert lid.serving() == {"web1": lid.hit.release, "web2": lid.first, "web3": lid.first}
    lid.heals()
    wifi.heals()
    session.heals()


def test_a_push_that_waits_for_the_lock_goes_on_when_it_is_over(hit: dict[str, App]) -> None:
    queue = hit["queue"]
    assert queue.waiting is not None
    waited = queue.waiting.end(within=300)
    assert waited["outcome"] == "succeeded", queue.waiting.summary
    assert waited["release"] == queue.hit.release
    queue.unnoticed(waited["release"])


def test_a_sample_of_the_points_at_which_anybody_may_die(sampled: Future[list[Row]]) -> None:
    """`make kills` has them all; SEED chooses others."""
    rows = sampled.result()
    print(*rows, sep="\n")
    assert len(rows) == len(SAMPLE)
    assert [row.problem for row in rows if row.problem] == []


@pytest.mark.faults
@pytest.mark.timeout(5400)
def test_a_controller_dies_at_any_moment_and_again_and_again(lab: Lab, tmp_path: Path) -> None:
    """`make faults SEEDS=3,7` repeats what those seeds did: a moment is a count of events, and a bit of a second."""
    fleet = Fleet(lab, tmp_path, "anytime")
    app = fleet.apps["anytime"]
    app.project.version("of no seed")
    usual = app.deploy("push")
    proven = {app.first, usual.release}
    try:
        for seed in map(int, os.environ.get("SEEDS", ALL_SEEDS).split(",")):
            chance = random.Random(seed)
            count, more = chance.randrange(1, len(usual.events) - 3), chance.uniform(0, 0.3)
            app.project.version(f"of seed {seed}")
            app.controller = app.push()
            app.hit.until_events(count)
            time.sleep(more)
            killed = app.hit.kill()
            drained = app.truth.bound(app.hit.run) > 0
            took = app.truth.recovers(app.hit.run, killed, LOOK if drained else BUILD)
            app.is_whole()
            healed = app.deploy("push")
            assert set(app.serving().values()) == {healed.release}, f"seed {seed}"
            proven |= {healed.release, *app.hit.planned}
            assert app.users is not None
            seen = app.users.prober.snapshot()
            print(f"seed {seed}, {count} events, {app.hit.reached}: {took}, {seen.requests} requests", flush=True)
            assert seen.failed == 0, f"seed {seed}"
        app.doors.close()
        assert app.users is not None
        app.users.demand(proven=proven, at_least=500, rate=RATE * 0.7)
    finally:
        fleet.close()
