"""Schedules on a host: the link moves at once, runs under way are let finish, and their release stays."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.instance import schedules
from deployer.agent.model.layout import COMMANDS, Site
from deployer.agent.model.messages.instances import LookAtSchedules, ScheduleState, ScheduleStopped, ScheduleSwitched
from deployer.agent.model.supervision import Schedule, Verbs
from deployer.agent.operation import Context, OpError
from deployer.agent.release import operations as release
from deployer.agent.release.retention import Pruner
from deployer.agent.site import ledger, links

ONE, TWO, BARE = "20240101T000000Z-aaaaaaaa", "20240201T000000Z-bbbbbbbb", "20240301T000000Z-cccccccc"


class Host:
    """A site with two releases that have the schedule and one that has not; its supervisor is a folder of files."""

    def __init__(self, folder: Path) -> None:
        self.site = Site("shop", "test", str(folder / "shop"))
        Path(self.site.state).mkdir(parents=True)
        for name in (ONE, TWO, BARE):
            Path(self.site.release(name), COMMANDS).mkdir(parents=True)
            Path(self.site.marker(name)).write_text(json.dumps({"created": 1}))
            if name != BARE:
                (Path(self.site.release(name)) / COMMANDS / "nightly").write_text("#!/bin/sh\nexec true\n")
        self.timer = folder / "timer"
        self.run_pid = folder / "pid"
        state = f'[ -e {self.timer} ] || echo "why=no timer"; [ ! -e {self.run_pid} ] || sed s/^/pid=/ {self.run_pid}'
        verbs = Verbs("shop-nightly.timer", ("touch", str(self.timer)), ("rm", "-f", str(self.timer)), (), ())
        self.schedule = Schedule("nightly", Verbs(**{**asdict(verbs), "state": ("sh", "-c", state)}), 60.0)

    def args(self, **more: Any) -> Any:
        return {"site": self.site.to_wire(), "run": "r1", "schedule": self.schedule.to_wire(), **more}

    def switch(self, to: str) -> ScheduleSwitched:
        return schedules.switch(Context(), self.args(release=to))

    def state(self) -> ScheduleState:
        request: LookAtSchedules = {"site": self.site.to_wire(), "schedules": [self.schedule.to_wire()]}
        return schedules.state(Context(), request)["schedules"]["nightly"]

    @property
    def link(self) -> str | None:
        return links.schedules(self.site).get("nightly")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_it_is_armed_then_moved_and_what_is_as_wanted_is_left_alone(host: Host) -> None:
    assert host.state()["why"] == "it was never started here"
    assert host.switch(ONE) == {"changed": True, "armed": True}
    assert host.link == ONE and host.timer.exists() and host.state()["why"] == ""
    assert host.switch(ONE) == {"changed": False, "armed": True}
    assert host.switch(TWO) == {"changed": True, "armed": True} and host.link == TWO
    assert links.used(host.site) == {"schedules/nightly": TWO}
    entries = [(each["event"], each["release"], each["previous"]) for each in ledger.read(host.site)]
    assert entries == [("intent", ONE, None), ("outcome", ONE, None), ("intent", TWO, ONE), ("outcome", TWO, ONE)]


def test_one_whose_timer_was_stopped_is_armed_again(host: Host) -> None:
    host.switch(ONE)
    host.timer.unlink()
    assert host.state()["why"] == "no timer"
    assert host.switch(ONE) == {"changed": True, "armed": True} and host.timer.exists()


def test_a_release_that_has_no_such_schedule_ends_it(host: Host) -> None:
    host.switch(ONE)
    assert host.switch(BARE) == {"changed": True, "armed": False}
    assert host.link is None and not host.timer.exists()
    assert host.switch(BARE) == {"changed": False, "armed": False}


def test_what_its_supervisor_refuses_leaves_it_as_it_was(host: Host) -> None:
    host.switch(ONE)
    good = host.schedule
    broken = Verbs(**{**asdict(good.verbs), "start": ("sh", "-c", "echo bad time >&2; exit 1")})
    host.schedule = Schedule("nightly", broken, 60.0)
    with pytest.raises(OpError) as refused:
        host.switch(TWO)
    assert refused.value.code == "not_armed" and "bad time" in refused.value.message
    assert host.link == ONE and host.timer.exists()
    links.drop_schedule(host.site, "nightly")
    with pytest.raises(OpError):
        host.switch(TWO)
    assert not host.link and not host.timer.exists(), "the first time: nothing is left of it"
    assert not ledger.open_intents(ledger.read(host.site))


def test_a_run_under_way_is_let_finish_and_nothing_new_begins_meanwhile(host: Host) -> None:
    host.switch(ONE)
    host.run_pid.write_text("4711")
    answers: list[ScheduleStopped] = []
    stopping = threading.Thread(target=lambda: answers.append(schedules.stop(Context(), host.args(wait=60))))
    stopping.start()
    until(lambda: host.link is None and not host.timer.exists())
    assert stopping.is_alive() and not answers
    host.run_pid.unlink()
    stopping.join(30)
    assert answers == [{"stopped": True, "pid": 0}]
    assert schedules.stop(Context(), host.args()) == {"stopped": False, "pid": 0}


def test_one_that_has_not_ended_is_told_and_is_half_done_until_it_has(host: Host) -> None:
    host.switch(ONE)
    host.run_pid.write_text("4711")
    for _ in range(2):
        assert schedules.stop(Context(), host.args(wait=0.1)) == {"stopped": True, "pid": 4711}
        assert host.link is None and not host.timer.exists()
        assert len(ledger.open_intents(ledger.read(host.site))) == 1
    host.run_pid.unlink()
    assert schedules.stop(Context(), host.args()) == {"stopped": False, "pid": 0}
    assert not ledger.open_intents(ledger.read(host.site))


def test_the_release_of_a_run_stays_wherever_the_run_went(host: Host) -> None:
    told = {"DEPLOY_APP": "shop", "DEPLOY_ENV": "test", "DEPLOY_RELEASE": ONE, "DEPLOY_SCHEDULE": "nightly"}
    with subprocess.Popen(["sleep", "600"], cwd="/", env={**os.environ, **told}) as run:
        try:
            until(lambda: ONE in Pruner(host.site, release.complete).used())
            Pruner(host.site, release.complete).releases(1, {TWO})
            assert sorted(os.listdir(host.site.releases)) == [ONE, TWO]
        finally:
            run.kill()
    Pruner(host.site, release.complete).releases(1, {TWO})
    assert os.listdir(host.site.releases) == [TWO]


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)
