"""A process that cannot be brought back is for a person, as an instance is: exit 6, with its name and what to type."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

from deployer.errors import DeployError, NeedsPersonError
from deployer.plan.model import ProcessStep
from deployer.rollout.steps.processes import Processes

STEPS = tuple(ProcessStep(f"web{host}", "worker", 1, "restart", OLD) for host in (1, 2))


def world() -> World:
    processes = {"worker": {"command": "python worker.py"}}
    return World(topology(2, 1, rolling={"soak": 0, "max_unavailable": "50%"}, processes=processes))


def beside(rollout: Rollout) -> Processes:
    return Processes(rollout.run, replace(rollout.plan, processes=STEPS), via="push")


def test_after_a_wave_that_failed() -> None:
    fleet = world()
    rollout = Rollout(fleet)
    moved = beside(rollout)
    moved.forward()
    rollout.restored = moved.back
    fleet.bad, fleet.wedged = {(NEW, "web2")}, {("web1", "worker@1")}
    rollout.carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and rollout.exit == 6
    assert rollout.error.host == "web1" and "web1:worker@1 could not be brought back" in rollout.error.message
    assert "deploy logs prod --process worker -l web1" in str(rollout.error.hint)
    assert "deploy push prod" in str(rollout.error.hint), "what to type is said"
    assert set(fleet.busy.values()) == {OLD} and rollout.record.hosts["web1"]["outcome"] == "failed"


def test_they_all_come_back_is_the_usual_end() -> None:
    fleet = world()
    rollout = Rollout(fleet)
    moved = beside(rollout)
    moved.forward()
    rollout.restored = moved.back
    fleet.bad = {(NEW, "web2")}
    assert rollout.carry_out().exit == 5


@pytest.mark.parametrize("wedged", ["web1", "web2"])
def test_before_any_instance_was_touched(wedged: str) -> None:
    """web2's does not start: either it stays down itself, or the one that had moved before does."""
    fleet = world()
    fleet.bad, fleet.wedged = {(NEW, "web2")}, {(wedged, "worker@1")}
    rollout = Rollout(fleet)
    with pytest.raises(NeedsPersonError) as caught:
        beside(rollout).forward()
    assert caught.value.host == wedged and f"{wedged}:worker@1 could not be brought back" in caught.value.message
    assert set(fleet.busy.values()) == {OLD}


def test_one_that_went_back_by_itself_needs_nobody() -> None:
    fleet = world()
    fleet.bad = {(NEW, "web2")}
    with pytest.raises(DeployError) as caught:
        beside(Rollout(fleet)).forward()
    assert not isinstance(caught.value, NeedsPersonError) and caught.value.code == "did_not_start"
