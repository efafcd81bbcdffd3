"""The judge of a rollout: which figures it compares, what it says, and that it is silent about too little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

from deployer.errors import NeedsPersonError, RolloutError
from deployer.events import Warned, WaveJudged
from deployer.plan.model import InstanceStep
from deployer.rollout.traffic.canary import Canary

Told = Callable[[str, str | None], dict[str, Any]]


def figures(requests: int, failed: int = 0, took: int = 5) -> dict[str, Any]:
    return {"requests": requests, "failed": failed, "lost": 0, "times": {str(took): requests}}


def serves(new: dict[str, Any], old: dict[str, Any]) -> Told:
    return lambda server, release: new if release == NEW else old


def rolled(told: Told | None, sizes: Sequence[int] = (), **rolling: Any) -> Rollout:
    shape = topology(rolling={"soak": "1ms", "max_unavailable": "100%", **rolling})
    world = World(shape, figures=told)
    rollout = Rollout(world, sizes=sizes)
    canary = Canary(rollout.run, rollout.plan)
    rollout.checks = lambda steps, release: canary.look_before(steps)
    rollout.judge = canary.judge
    with canary.counting():
        return rollout.carry_out()


def verdicts(rollout: Rollout) -> list[WaveJudged]:
    return [event for event in rollout.events if isinstance(event, WaveJudged)]


def test_a_worse_canary_goes_back_and_the_others_are_never_touched() -> None:
    rollout = rolled(serves(figures(200, 40), figures(300)))
    assert isinstance(rollout.error, RolloutError) and rollout.exit == 5
    assert rollout.error.code == "worse" and rollout.error.host == "web1"
    assert rollout.error.message.startswith(
        "web1:0 serves worse than the previous release: 20.0 % of its requests fail"
    )
    assert "40 of 200 requests failed" in str(rollout.error.cause) and "0 of 600" in str(rollout.error.cause)
    assert "deploy logs prod" in str(rollout.error.hint)
    assert set(rollout.world.busy.values()) == {OLD} and not rollout.world.harm
    (verdict,) = verdicts(rollout)
    assert not verdict.ok and verdict.compared == "meanwhile" and verdict.new["web1:0"]["failed"] == 40
    assert ("web2-8000", NEW) not in rollout.world.shown


def test_as_good_as_before_goes_through_and_the_last_wave_is_measured_against_before() -> None:
    rollout = rolled(serves(figures(200, 4), figures(300, 6)))
    assert rollout.error is None and rollout.exit == 0
    assert [(each.ok, each.compared) for each in verdicts(rollout)] == [
        (True, "meanwhile"),
        (True, "meanwhile"),
        (True, "before"),
    ]


def test_what_nobody_can_tell_is_said_and_stops_nothing() -> None:
    rollout = rolled(serves(figures(20, 20), figures(300)))
    assert rollout.error is None
    assert [each.enough for each in verdicts(rollout)] == [False, False, False]


def test_when_all_change_at_once_they_are_measured_against_before() -> None:
    rollout = rolled(serves(figures(100, 30), figures(100)), sizes=[3], strategy="bluegreen")
    assert rollout.exit == 5
    (verdict,) = verdicts(rollout)
    assert verdict.compared == "before" and verdict.old["requests"] == 300


def test_one_of_several_is_named() -> None:
    def told(server: str, release: str | None) -> dict[str, Any]:
        return figures(400, 40 if server.startswith("web2") and release == NEW else 0)

    rollout = rolled(told, sizes=[2, 1])
    assert str(rollout.error.message if rollout.error else "").startswith("web2:0 serves worse")


def test_times_count_where_they_are_asked_for() -> None:
    slow = serves(figures(200, took=100), figures(300, took=10))
    assert rolled(slow).error is None
    assert "100 ms" in str(rolled(slow, judge={"slower": "3x"}).error)


def test_the_policy_for_failures_is_kept() -> None:
    rollout = rolled(serves(figures(200, 40), figures(300)), on_failure="stop")
    assert isinstance(rollout.error, NeedsPersonError) and rollout.error.code == "worse"
    assert set(rollout.world.busy.values()) == {OLD}


def test_a_wave_that_went_back_within_the_budget_counts_among_the_old() -> None:
    def told(server: str, release: str | None) -> dict[str, Any]:
        return figures(400, 40 if server.startswith("web1") and release == NEW else 0)

    rollout = rolled(told, max_failures=1)
    assert rollout.exit == 8 and rollout.world.serving["web1-8000"] == OLD
    assert [(each.ok, each.compared, each.old["requests"]) for each in verdicts(rollout)] == [
        (False, "meanwhile", 800),
        (True, "meanwhile", 800),
        (True, "meanwhile", 400),
    ]


def test_without_figures_it_is_said_once_and_the_rollout_goes_on() -> None:
    rollout = rolled(None)
    assert rollout.error is None and not verdicts(rollout)
    (warning,) = [event for event in rollout.events if isinstance(event, Warned)]
    assert "not judged" in warning.message and warning.hint == "set it up"


@pytest.mark.parametrize("rolling", [{"judge": "off"}, {"soak": 0}])
def test_off_is_off(rolling: dict[str, Any]) -> None:
    rollout = rolled(serves(figures(200, 200), figures(300)), **rolling)
    assert rollout.error is None and not verdicts(rollout)


def test_what_serves_the_release_already_is_neither_new_nor_old() -> None:
    shape = topology(rolling={"soak": "1ms"})
    world = World(shape, figures=serves(figures(200), figures(200)))
    rollout = Rollout(world, sizes=[3])
    kept = InstanceStep("web3", 0, 8000, "keep", NEW)
    plan = rollout.plan.__class__(**{**vars(rollout.plan), "waves": (rollout.plan.steps[:2],), "kept": (kept,)})
    canary = Canary(rollout.run, plan)
    canary.look_before(plan.steps)
    canary.judge(plan.steps, NEW)
    (verdict,) = verdicts(rollout)
    assert verdict.compared == "before" and verdict.old["requests"] == 400
