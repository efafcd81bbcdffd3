"""`max_failures` and `on_failure` against a fleet in memory: who stays behind, who goes back, how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

from deployer.errors import ChecksError, InterruptedRun, LeftBehindError, NeedsPersonError, StoppedHalfWay
from deployer.rollout.run.record import outcome_of


def world(web: int = 10, **rolling: Any) -> World:
    return World(topology(web, 2, rolling={"soak": 0, "max_unavailable": "50%", **rolling}))


def serving(fleet: World, release: str) -> set[str]:
    return {server.partition("-")[0] for server, found in fleet.busy.items() if found == release}


def test_failures_within_the_budget_stay_behind_and_are_named() -> None:
    fleet = world(max_failures="20%")
    fleet.bad = {(NEW, "web2"), (NEW, "web9")}
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, LeftBehindError) and rollout.exit == 8
    assert "web2:0, web9:0 stayed behind" in rollout.error.message
    assert serving(fleet, OLD) == {"web2", "web9"} and len(serving(fleet, NEW)) == 8
    assert fleet.out == {} and fleet.harm == [] and fleet.lowest == 9
    assert {host for host, current in fleet.current.items() if current == OLD} == {"web2", "web9"}
    assert rollout.record.hosts["web2"]["outcome"] == "failed"
    assert rollout.record.hosts["web3"]["outcome"] == "succeeded"


def test_one_failure_more_than_the_budget_puts_all_back() -> None:
    fleet = world(max_failures=1)
    fleet.bad = {(NEW, "web2"), (NEW, "web9")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and serving(fleet, OLD) == {f"web{n}" for n in range(1, 11)}
    assert fleet.out == {} and fleet.harm == []


def test_healthy_members_of_a_wave_within_the_budget_finish() -> None:
    fleet = world(4, max_failures=1)
    fleet.bad = {(NEW, "web1")}
    rollout = Rollout(fleet, sizes=[2, 2]).carry_out()
    assert rollout.exit == 8 and serving(fleet, NEW) == {"web2", "web3", "web4"} and fleet.out == {}


def test_a_lost_host_counts_and_is_quarantined() -> None:
    fleet = world(max_failures=1)
    fleet.on("stopped", "web4", lambda: fleet.loses("web4"))
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 8 and fleet.out == {"web4-8000": "quarantine"}
    assert len(serving(fleet, NEW)) == 9


@pytest.mark.parametrize("strategy", ["restart", "bluegreen"])
def test_a_host_that_is_lost_before_its_turn_serves_on_where_all_go_back(strategy: str) -> None:
    fleet = world(4, strategy=strategy)
    fleet.on("instance.switch", "web2", lambda: fleet.loses("web4"))
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and serving(fleet, OLD) == {f"web{n}" for n in range(1, 5)}
    assert fleet.out == {} and fleet.harm == []


def test_a_host_that_is_lost_before_its_turn_is_quarantined_where_the_others_go_on() -> None:
    fleet = world(4, max_failures=1)
    fleet.on("instance.switch", "web2", lambda: fleet.loses("web4"))
    rollout = Rollout(fleet, sizes=[1, 1, 2]).carry_out()
    assert rollout.exit == 8 and "web4:0 stayed behind" in str(rollout.error)
    assert serving(fleet, NEW) == {"web1", "web2", "web3"} and fleet.out["web4-8000"] == "quarantine"
    assert fleet.harm == []


def test_where_a_lost_host_is_all_that_may_be_missing_the_others_change_beside_what_serves() -> None:
    """The default lets one of three be missing, and that one is gone: in place, nobody else could change."""
    fleet = World(topology(3, 2, rolling={"soak": 0, "max_failures": 1}))
    fleet.on("stopped", "web2", lambda: fleet.loses("web2"))
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 8 and "web2:0 stayed behind" in str(rollout.error)
    assert fleet.busy["web1-8000"] == fleet.busy["web3-8500"] == NEW and "web3-8000" not in fleet.busy
    assert fleet.out == {"web2-8000": "quarantine"} and fleet.lowest == 2 and fleet.harm == []
    assert fleet.current == {"web1": NEW, "web2": OLD, "web3": NEW}


def test_what_changed_beside_for_a_lost_host_goes_back_there() -> None:
    fleet = World(topology(4, 2, rolling={"soak": 0, "max_failures": 1}))
    fleet.on("stopped", "web2", lambda: fleet.loses("web2"))
    fleet.bad = {(NEW, "web4")}
    rollout = Rollout(fleet).carry_out()
    assert serving(fleet, OLD) == {"web1", "web3", "web4"} and rollout.exit == 6
    assert fleet.busy["web3-8000"] == OLD and fleet.out == {"web2-8000": "quarantine"} and fleet.harm == []


def test_restart_as_asked_is_never_another_strategy() -> None:
    fleet = World(topology(3, 2, rolling={"soak": 0, "max_failures": 1, "strategy": "restart"}))
    fleet.on("stopped", "web2", lambda: fleet.loses("web2"))
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 6 and serving(fleet, OLD) == {"web1", "web3"} and fleet.harm == []


def test_checks_that_fail_count_and_their_instances_go_back() -> None:
    fleet = world(4, max_failures=1)
    rollout = Rollout(fleet)

    def checks(steps: Any, release: str) -> None:
        if steps[0].host == "web2":
            raise ChecksError("1 of 4 checks failed", host="web2", step="checks")

    rollout.checks = checks
    rollout.carry_out()
    assert rollout.exit == 8 and serving(fleet, OLD) == {"web2"} and fleet.out == {} and fleet.harm == []


def test_continue_goes_on_whatever_fails() -> None:
    fleet = world(4, on_failure="continue")
    fleet.bad = {(NEW, "web1"), (NEW, "web2"), (NEW, "web3")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 8 and serving(fleet, NEW) == {"web4"} and fleet.out == {} and fleet.lowest == 3


def test_when_all_stay_behind_nothing_was_done() -> None:
    fleet = world(3, on_failure="continue")
    fleet.bad = {(NEW, f"web{n}") for n in (1, 2, 3)}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and serving(fleet, OLD) == {"web1", "web2", "web3"}
    assert set(fleet.current.values()) == {OLD}


def test_stop_leaves_what_serves_and_says_how_to_go_on() -> None:
    fleet = world(4, on_failure="stop")
    fleet.bad = {(NEW, "web3")}
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and rollout.exit == 6
    assert serving(fleet, NEW) == {"web1", "web2"} and serving(fleet, OLD) == {"web3", "web4"}
    assert "2 of 4 instances serve" in str(rollout.error) and "deploy rollback prod" in (rollout.error.hint or "")
    assert fleet.out == {} and fleet.harm == []


def test_stop_completes_the_healthy_members_of_the_wave() -> None:
    fleet = world(4, on_failure="stop")
    fleet.bad = {(NEW, "web1")}
    rollout = Rollout(fleet, sizes=[2, 2]).carry_out()
    assert rollout.exit == 6 and serving(fleet, NEW) == {"web2"} and fleet.out == {}


def test_stop_and_ctrl_c() -> None:
    fleet = world(3, on_failure="stop")
    rollout = Rollout(fleet)
    fleet.on("stopped", "web1", rollout.stop.set)
    rollout.carry_out()
    assert isinstance(rollout.error, InterruptedRun) and outcome_of(rollout.error) == "interrupted"
    assert serving(fleet, NEW) == {"web1"} and fleet.out == {}


@pytest.mark.parametrize("on_failure", ["rollback", "continue"])
def test_beside_what_serves_the_policy_is_the_same(on_failure: str) -> None:
    fleet = world(4, strategy="bluegreen", on_failure=on_failure)
    fleet.bad = {(NEW, "web2")}
    rollout = Rollout(fleet).carry_out()
    left = {"rollback": (5, set()), "continue": (8, {"web1", "web3", "web4"})}[on_failure]
    assert (rollout.exit, serving(fleet, NEW)) == left
    assert fleet.lowest == 4 and fleet.out == {} and fleet.harm == []


# -- whether anything stays of it: then units and balancers are not put back -------------------------------------------


def test_what_goes_back_as_a_whole_leaves_nothing() -> None:
    fleet = world(3)
    fleet.bad = {(NEW, "web2")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and not rollout.run.stays


def test_a_run_that_succeeds_or_leaves_some_behind_stays() -> None:
    assert Rollout(world(3)).carry_out().run.stays
    fleet = world(3, max_failures=1)
    fleet.bad = {(NEW, "web2")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 8 and rollout.run.stays


def test_where_it_stops_what_has_changed_stays_also_when_a_person_stopped_it() -> None:
    fleet = world(3, on_failure="stop")
    fleet.bad = {(NEW, "web2")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 6 and rollout.run.stays
    fleet = world(3, on_failure="stop")
    by_hand = Rollout(fleet)
    fleet.on("stopped", "web2", by_hand.stop.set)
    assert by_hand.carry_out().exit == 130 and by_hand.run.stays and serving(fleet, NEW)
    assert isinstance(by_hand.error, StoppedHalfWay)


def test_where_the_first_fails_it_stops_with_nothing_to_stay() -> None:
    fleet = world(3, on_failure="stop")
    fleet.bad = {(NEW, "web1")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 6 and not rollout.run.stays and serving(fleet, NEW) == set()


def test_who_cannot_go_back_stays() -> None:
    fleet = world(3)
    fleet.bad = {(NEW, "web3")}
    fleet.on("stopped", "web3", lambda: fleet.loses("web1"))
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 6 and rollout.run.stays
