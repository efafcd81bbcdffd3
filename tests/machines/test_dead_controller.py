"""The laptop that deploys dies: whatever it had in hand, the hosts end it alone, and the next push heals.

All accidents happen first, each to an app of its own; then one wait is enough for all of them. Users are there all the
while. What may take how long is not a guess of these tests: it is what the watchdog was told for the phase in which the
accident happened, and the lease where nothing but silence told of it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.controller import Controller
from support.labs import fresh_name
from support.project import Done, Project
from support.traffic import Traffic, traffic
from support.truth import Recovered, Truth

from deployer.agent.protocol import LEASE
from deployer.lab import Lab, LabSpec, down, up
from deployer.rollout.pools import LATE_S, QUIET_S

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1800)]

DRAIN, GRACEFUL, WITHIN = 2.0, 2.0, 20.0
WITHIN_AGAIN = 30.0  # the way back is given half a minute where `within` is less
SWITCHING = LATE_S + 2 * (GRACEFUL + 15 + 5) + WITHIN + WITHIN_AGAIN
LOOK = 5.0  # seconds that these tests may be late in seeing it, on a busy machine
SETTINGS = {
    "runtime": {"workers": 1, "graceful_timeout": f"{GRACEFUL:g}s"},
    "health": {"within": f"{WITHIN:g}s"},
    "rolling": {"drain_timeout": f"{DRAIN:g}s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}
BUILD = 60.0  # seconds that an installation which had begun may hold the lock, while nothing is out of the pool
RATE = 12.0
ALL_SEEDS = ",".join(map(str, range(12)))


@dataclass
class App:
    """An app on a lab, its users, and what became of the push that was hit."""

    project: Project
    truth: Truth
    user: tuple[str, ...]
    first: str
    users: Traffic | None = None
    doors: ExitStack = field(default_factory=ExitStack)
    controller: Controller | None = None
    waiting: Controller | None = None
    recovery: Future[Recovered] | None = None

    def deploy(self, *args: str, expect: int | None = 0) -> Done:
        return self.project.deploy(*args, *self.user, expect=expect)

    def push(self, *args: str) -> Controller:
        """Begins a push of what is committed."""
        return Controller(self.project, "push", *args, *self.user)

    @property
    def hit(self) -> Controller:
        """The push that was hit."""
        assert self.controller is not None
        return self.controller

    def begin(self) -> Controller:
        """Begins the push that is going to be hit."""
        self.project.version(2)
        self.controller = self.push()
        return self.controller

    def until_starting(self) -> None:
        """Until the first instance is stopped and its new release is being started."""
        self.hit.until("step.started", "switch")
        self.hit.until_true("the switch is under way", lambda: self.truth.reached("web1", self.hit.run, "start"))

    def recovered(self, *bounds: float) -> Recovered:
        """What the recovery took, once it is over; it happened in a phase with one of these bounds."""
        assert self.recovery is not None
        took = self.recovery.result()
        print(
            f"{self.truth.app}: served after {took.served} s, unlocked after {took.unlocked} s, bound {took.bound:g} s"
        )
        assert took.bound in bounds
        return took

    def serving(self) -> dict[str, str]:
        """Host → the release that its instance proves, as `deploy status` says; fails when anything is amiss."""
        status = self.deploy("status")
        lines = [event["line"] for event in status.of("output")]
        assert not [line for line in lines if "locked" in line or "held out" in line or "half done" in line], lines
        hosts = {name: host["instances"]["0"] for name, host in status.last["hosts"].items() if host["instances"]}
        assert [instance["state"] for instance in hosts.values()] == ["proven"] * 3, hosts
        return {name: instance["release"] for name, instance in hosts.items()}

    def left_serving(self) -> dict[str, str]:
        """What the accident leaves: the first host has the new release if its agent was told to switch by then."""
        switched = self.truth.reached("web1", self.hit.run, "stop")
        return {"web1": self.hit.release if switched else self.first, "web2": self.first, "web3": self.first}

    def is_whole(self) -> None:
        """Nobody has a lock, every link leads to a complete release, nothing is left over."""
        for host in self.truth.lab.hosts:
            lock = f"/srv/{self.truth.app}/.deploy/lock"
            assert self.truth.lab.exec(host, ["flock", "-n", lock, "true"]).returncode == 0, host
        assert self.truth.incomplete() == []
        until("nothing is left over", lambda: self.truth.leftovers() == [])

    def heals(self) -> str:
        """The next push succeeds, every instance proves it, and nobody noticed anything. The release."""
        self.is_whole()
        healed = self.deploy("push")
        assert healed.last["outcome"] == "succeeded", healed.summary
        self.unnoticed(healed.release)
        return healed.release

    def unnoticed(self, release: str) -> None:
        """Every instance serves `release`, and no user saw anything but it and the first one."""
        assert set(self.serving().values()) == {release}
        assert self.truth.serving()
        self.is_whole()
        self.doors.close()
        assert self.users is not None
        self.users.demand(proven={self.first, release}, at_least=200, rate=RATE * 0.7)


class Fleet:
    """A lab with apps on it, each with users."""

    def __init__(self, lab: Lab, folder: Path, *apps: str, user: str = "") -> None:
        self.lab = lab
        self.user = ("--user", user) if user else ()
        with ThreadPoolExecutor(len(apps)) as pool:
            made = pool.map(lambda each: self._deployed(folder, *each), enumerate(apps))
            self.apps = dict(zip(apps, made, strict=True))
        for name, app in self.apps.items():
            users = traffic(lab.address, folder / f"{name}.log", rate=RATE, host_header=f"{name}.test")
            app.users = app.doors.enter_context(users)

    def _deployed(self, folder: Path, number: int, name: str) -> App:
        settings = {"app": name, "domains": [f"{name}.test"], "port": 8200 + 10 * number, **SETTINGS}
        project = Project(folder / name, self.lab.name, "shop", settings)
        project.deploy("setup", *self.user)
        release = project.deploy("push", *self.user).release
        return App(project, Truth(self.lab, name), self.user, release)

    def close(self) -> None:
        """Everything that runs here for it ends."""
        for app in self.apps.values():
            app.doors.close()
            for controller in (app.controller, app.waiting):
                if controller is not None:
                    controller.close()


def drained(app: App) -> float:
    """The first instance is out of the pool and still serves the old release."""
    app.hit.until("step.started", "drain")
    app.hit.until_true("it is drained", app.truth.held)
    return app.hit.kill()


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


def until(what: str, holds: Callable[[], bool], limit: float = 20.0) -> None:
    """Waits for a condition; fails with its name."""
    ends = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < ends, f"not within {limit:g} s: {what}"
        time.sleep(0.1)


# Those that have to wait longest come first.
DEATHS: dict[str, Callable[[App], float]] = {
    "session": switching,
    "switching": switching,
    "drained": drained,
    "switched": switched,
    "unfinished": all_admitted,
    "orphaned": with_the_balancers_agent,
}


@pytest.fixture(scope="module")
def roots(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Apps that are deployed as root."""
    apps = ("drained", "switching", "switched", "unfinished", "orphaned", "queue")
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
def hit(roots: Fleet, logins: Fleet) -> Iterator[dict[str, App]]:
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
    status = queue.deploy("status")
    lines = " / ".join(event["line"] for event in status.of("output"))
    assert f"(run {queue.hit.run})" in lines
    assert "held out by run" in lines
    queue.waiting = queue.push("--wait", "5m")


def test_the_laptop_dies_when_the_first_instance_is_drained(hit: dict[str, App]) -> None:
    app = hit["drained"]
    app.recovered(QUIET_S, SWITCHING)  # a slow test may come too late for the quiet moment
    assert app.serving() == app.left_serving()
    app.heals()


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
