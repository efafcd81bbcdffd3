"""Schedules at the end of a run, on a fleet in memory: last of all, never on two hosts, never a reason to go back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, World
from support.facts import bare_host
from support.topologies import topology

from deployer.errors import InterruptedRun, NeedsPersonError, NotReadyError
from deployer.events import Bus, Warned
from deployer.plan.facts import Facts
from deployer.plan.model import ScheduleStep
from deployer.remote.errors import AgentError
from deployer.rollout.run.record import Record
from deployer.rollout.run.run import Run
from deployer.rollout.steps.schedules import Schedules, stop_schedule
from deployer.rollout.steps.survey import require_starters

NIGHTLY = {"command": "python -m shop.nightly", "cron": "0 3 * * *"}


class Timed(World):
    """A fleet that notes, in order, what happens to schedules, and what is current then."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told: list[tuple[str, str, str | None]] = []
        self.under_way: list[int] = []

    def schedules_switch(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.told.append(("switch", host, self.current[host]))
        return {"changed": True, "armed": True}

    def schedules_stop(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.told.append(("stop", host, self.current[host]))
        return {"stopped": True, "pid": self.under_way.pop() if self.under_way else 0}


def rolled(fleet: Timed, *steps: ScheduleStep, fails: bool = False) -> tuple[Rollout, Schedules]:
    """A push with these steps. `fails`: the checks of the whole fleet do."""
    run = Rollout(fleet)
    run.plan = replace(run.plan, schedules=steps)
    times = Schedules(run.run, run.plan)

    def checks() -> None:
        if fails:
            raise AgentError("checks", "the fleet is not well")

    run.finish = times.after(checks)
    return run.carry_out(), times


@pytest.fixture
def fleet() -> Timed:
    return Timed(topology(2, 1, schedules={"nightly": NIGHTLY}, rolling={"soak": 0}))


MOVES = (ScheduleStep("web1", "nightly", "stop", OLD), ScheduleStep("web2", "nightly", "start", None))


def test_they_move_when_the_release_is_current_everywhere_and_off_comes_before_on(fleet: Timed) -> None:
    run, times = rolled(fleet, *MOVES)
    assert run.error is None and fleet.told == [("stop", "web1", NEW), ("switch", "web2", NEW)]
    times.require_moved()
    files = ("/etc/systemd/system/shop-nightly.service", "/etc/systemd/system/shop-nightly.timer")
    assert fleet.applied == [("web1", files)], "the files of what has left"


def test_a_run_that_goes_back_has_touched_none(fleet: Timed) -> None:
    run, _ = rolled(fleet, *MOVES, fails=True)
    assert run.error is not None and set(fleet.current.values()) == {OLD}
    assert fleet.told == []


def test_one_that_does_not_leave_its_host_is_not_started_on_another_and_takes_nothing_back(fleet: Timed) -> None:
    fleet.fails("schedules.stop", "web1", "lease_lost")
    run, times = rolled(fleet, *MOVES)
    assert run.error is None and set(fleet.current.values()) == {NEW} and fleet.told == []
    with pytest.raises(NeedsPersonError, match="the release is current, but the schedule web1:nightly did not stop"):
        times.require_moved()


@pytest.mark.parametrize(("singleton", "told"), [(True, []), (False, ["web2"])])
def test_one_whose_host_was_lost_may_still_run_there(singleton: bool, told: list[str]) -> None:
    fleet = Timed(topology(2, 1, schedules={"nightly": {**NIGHTLY, "singleton": singleton}}))
    run = Rollout(fleet)
    run.run.lost.add("web1")
    Schedules(run.run, replace(run.plan, schedules=MOVES)).move()
    assert [host for _, host, _ in fleet.told] == told


def test_a_run_under_way_is_waited_for(fleet: Timed) -> None:
    fleet.under_way = [4711, 4711]
    run, times = rolled(fleet, *MOVES)
    times.require_moved()
    assert [what for what, *_ in fleet.told] == ["stop", "stop", "stop", "switch"]
    told = [event.message for event in run.events if isinstance(event, Warned)]
    assert told == ["a run of nightly is under way (process 4711), and is let finish"]


def test_but_no_longer_than_it_may_take_or_a_person_likes(fleet: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.under_way = [4711] * 99
    monkeypatch.setattr("deployer.plan.topology.END_OF_RUN", -3600.0)
    _, times = rolled(fleet, *MOVES)
    with pytest.raises(NeedsPersonError, match="has not ended in the time that it has"):
        times.require_moved()
    monkeypatch.undo()
    run = Rollout(fleet)
    run.stop.set()
    with pytest.raises(InterruptedRun):
        stop_schedule(run.run, fleet.topology.web[0], "nightly")
    assert "switch" not in [what for what, *_ in fleet.told]


def test_hosts_that_were_left_behind_keep_theirs(fleet: Timed) -> None:
    steps = (ScheduleStep("web1", "nightly", "move", OLD), ScheduleStep("web2", "nightly", "move", OLD))
    run = Rollout(fleet)
    run.run.behind.add("web2")
    Schedules(run.run, replace(run.plan, schedules=steps)).move()
    assert [host for _, host, _ in fleet.told] == ["web1"]


def test_a_host_without_cron_is_refused_before_anything_is_changed_where_cron_starts_them() -> None:
    shape = topology(2, 1, schedules={"nightly": NIGHTLY}, supervisor="supervisord")
    shape = replace(shape, schedule_hosts={"nightly": ("web2",)})
    there = {name: bare_host(name, tools={"cron": None}) for name in ("web1", "web2")}
    run = Run(shape, Timed(shape), Bus(lambda event: None), Record("push"), "me@here", threading.Event())  # type: ignore[arg-type]
    with pytest.raises(NotReadyError, match="cron is not on web2, and it is what starts nightly"):
        require_starters(run, Facts(there))
    there["web2"] = bare_host("web2", tools={"cron": "/usr/sbin/cron"})
    require_starters(run, Facts(there))
    require_starters(replace(run, topology=topology(2, 1, schedules={"nightly": NIGHTLY})), Facts({}))
