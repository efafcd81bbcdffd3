"""The receipt of a run: what the probe saw fail, and what was changing at that moment."""

from __future__ import annotations

import pytest
from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

from deployer.errors import RolloutError
from deployer.events import StepFinished, StepStarted
from deployer.probe import Failure, Receipt
from deployer.rollout.traffic.receipt import Changes, Watch, receipt_data


def heard() -> Changes:
    changes = Changes()
    changes(StepStarted("drain", instance="web1:0", ts=10.0))
    changes(StepFinished("drain", instance="web1:0", ts=12.0))
    changes(StepStarted("switch", host="web1", instance="web1:0", ts=12.0))
    changes(StepStarted("survey", ts=9.0))
    return changes


def test_a_moment_has_what_was_under_way_then() -> None:
    changes = heard()
    assert changes.at(9.5) == []
    assert changes.at(11.0) == ["web1:0 drain"]
    assert changes.at(99.0) == ["web1:0 switch"], "it has not ended"
    assert changes.at(12.5, before=2.0) == ["web1:0 drain", "web1:0 switch"], "a request began before it failed"


def test_each_failure_is_told_with_its_moment() -> None:
    receipt = Receipt(100, 1, 0, 0, 1.0, 2.0, 3.0, 5.0, failures=(Failure(11.0, "get", "reset: by the peer"),))
    failure = receipt_data(receipt, heard())["failures"][0]
    assert failure["during"] == ["web1:0 drain"] and failure["at"] == "00:00:11"


class Prober:
    """A probe that has seen so many failures."""

    def __init__(self) -> None:
        self.failed = 3

    def snapshot(self) -> Receipt:
        return Receipt(100, self.failed, 0, 0, 1.0, 2.0, 3.0, 5.0)


def test_what_failed_before_the_run_changed_anything_is_not_its_fault() -> None:
    prober = Prober()
    watch = Watch(prober, 1)  # type: ignore[arg-type]
    prober.failed = 5
    watch.begin()
    watch.require_few()
    prober.failed = 6
    watch.require_few()
    prober.failed = 7
    with pytest.raises(RolloutError, match="2 requests"):
        watch.require_few()


def test_users_who_are_harmed_in_a_wave_take_everything_back() -> None:
    fleet = World(topology(3, 2, rolling={"soak": 0}))
    rollout = Rollout(fleet)
    prober = Prober()
    watch = Watch(prober, 0)  # type: ignore[arg-type]
    fleet.on("stopped", "web2", lambda: setattr(prober, "failed", 4))
    rollout.judge = watch.require_few
    rollout.carry_out()
    assert rollout.exit == 5 and rollout.error is not None and rollout.error.step == "probe"
    assert set(fleet.busy.values()) == {OLD} and fleet.out == {}
    assert ("web3-8000", NEW) not in fleet.shown
