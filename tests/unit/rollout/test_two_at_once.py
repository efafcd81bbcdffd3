"""Two ordinary things at once, each fine alone: what is promised of one holds beside the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, Slot, World
from support.facts import facts, host
from support.topologies import topology

from deployer.errors import ChecksError, UnreachableError
from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.model import InstanceStep, Plan, ProcessStep
from deployer.plan.topology import Topology
from deployer.remote.errors import AgentError
from deployer.rollout.run import unreachable
from deployer.rollout.steps.processes import Processes

ANCIENT = "20230101T000000Z-00000000"


def moved(web: int = 4, **rolling: Any) -> Rollout:
    """Instances serve at ports of before (7000), and start at new ones (8000), one wave each."""
    former = {f"web{number}": f"web{number}-7000" for number in range(1, web + 1)}
    fleet = World(topology(web, 1, rolling={"soak": 0, **rolling}))
    fleet.serving = {**dict.fromkeys(fleet.serving), **dict.fromkeys(former.values(), OLD)}
    fleet.pids |= dict.fromkeys(former.values(), 100)
    for pool in fleet.pools.values():
        pool.update({server: Slot("maint") for server in pool})  # as balancers have servers that are new to a pool
        pool.update({server: Slot() for server in former.values()})
    fleet.lowest = fleet.available
    rollout = Rollout(fleet)
    steps = {step: replace(step, action="start", before=None) for step in rollout.plan.steps}
    surplus = tuple(InstanceStep(host, 0, 7000, "keep", OLD, 7000) for host in former)
    rollout.plan = replace(rollout.plan.instead(steps), surplus=surplus)
    return rollout


# -- changed ports, and some may fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [{"max_failures": 1}, {"on_failure": "continue"}])
def test_changed_ports_and_one_that_stays_behind_stays_on_what_it_served(policy: dict[str, Any]) -> None:
    rollout = moved(4, **policy)
    fleet = rollout.world
    fleet.bad = {(NEW, "web2")}
    rollout.carry_out()
    assert rollout.exit == 8
    assert fleet.serving["web2-7000"] == OLD, "max_failures: how many may stay on what they served"


def test_changed_ports_and_on_failure_continue_do_not_leave_one_of_four() -> None:
    rollout = moved(4, on_failure="continue")
    fleet = rollout.world
    fleet.bad = {(NEW, "web2"), (NEW, "web3"), (NEW, "web4")}
    rollout.carry_out()
    assert rollout.exit == 8 and fleet.available == 4 and fleet.lowest >= 3


# -- a host that is back from the dead, and a push that fails -------------------------------------------------------


def back_from_the_dead(**rolling: Any) -> World:
    """web1 was lost while the fleet went on from ANCIENT to OLD; it is back, in quarantine, with ANCIENT."""
    fleet = World(topology(3, 1, rolling={"soak": 0, **rolling}))
    fleet.serving["web1-8000"], fleet.current["web1"] = ANCIENT, ANCIENT
    fleet.hold("web1-8000", "quarantine")
    fleet.shown.clear()
    return fleet


def test_back_from_the_dead_and_a_canary_that_does_not_start_shows_nobody_the_earlier_release() -> None:
    fleet = back_from_the_dead()
    fleet.bad = {(NEW, "web1")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and fleet.serving["web1-8000"] == ANCIENT
    assert ("web1-8000", ANCIENT) not in fleet.shown, "users get the release of before the one that all serve"
    assert fleet.out == {"web1-8000": "quarantine"}


def test_back_from_the_dead_and_a_later_wave_that_fails_shows_nobody_the_earlier_release() -> None:
    fleet = back_from_the_dead()
    fleet.bad = {(NEW, "web3")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and fleet.serving["web1-8000"] == ANCIENT
    assert ("web1-8000", ANCIENT) not in fleet.shown


def test_back_from_the_dead_and_a_wave_that_cannot_be_prepared_shows_nobody_the_earlier_release() -> None:
    fleet = back_from_the_dead()
    fleet.fails("balancer.drain", "lb1", "balancer_down")
    Rollout(fleet).carry_out()
    assert ("web1-8000", ANCIENT) not in fleet.shown


# -- a blue/green push whose controller was killed, and a way back that fails ---------------------------------------


def killed_beside() -> Rollout:
    """A dead blue/green push had both slots of web1 admitted; `push --release current` goes back to OLD."""
    fleet = World(topology(2, 1, rolling={"soak": 0, "strategy": "bluegreen"}))
    fleet.serving["web1-8500"] = NEW
    for pool in fleet.pools.values():
        pool["web2-8500"] = Slot("maint", "spare")
    fleet.release = NEW
    rollout = Rollout(fleet, OLD)
    settle = InstanceStep("web1", 0, 8000, "settle", OLD, 8500)
    fleet.serving["web2-8000"] = NEW
    other = InstanceStep("web2", 0, 8500, "replace", NEW, 8000)
    rollout.plan = Plan("push", "shop", "prod", OLD, OLD, "bluegreen", "", ((settle, other),), unused=(("web2", 8500),))
    return rollout


def test_killed_beside_and_the_way_back_fails_its_checks_stops_nothing_under_a_balancer() -> None:
    rollout = killed_beside()

    def checks(steps: Any, release: str) -> None:
        raise ChecksError("1 of 4 checks failed", host="web1", step="checks")

    rollout.checks = checks
    rollout.carry_out()
    assert rollout.exit == 5 and rollout.world.harm == []


def test_killed_beside_and_another_of_its_wave_fails_stops_nothing_under_a_balancer() -> None:
    rollout = killed_beside()
    rollout.world.bad = {(OLD, "web2")}
    rollout.carry_out()
    assert rollout.exit == 5 and rollout.world.harm == []


# -- an added host, or one that stayed behind, and a fleet that fails its checks ------------------------------------


class Strict(World):
    """`site.promote` refuses a release that is not there, as agents do (`links.require_complete`)."""

    has: dict[str, set[str]]

    def site_promote(self, host: str, args: Any) -> dict[str, Any]:
        if args["release"] is not None and args["release"] not in self.has[host]:
            raise AgentError("incomplete", f"{args['release']} is not on {host}")
        return super().site_promote(host, args)


def test_an_added_host_and_a_fleet_that_fails_its_checks_has_no_current_of_the_failed_release() -> None:
    fleet = Strict(topology(2, 1, rolling={"soak": 0}))
    fleet.has = {"web1": {OLD, NEW}, "web2": {NEW}}
    fleet.serving["web2-8000"], fleet.current["web2"] = None, None
    rollout = Rollout(fleet)
    rollout.plan = replace(rollout.plan, waves=tuple(reversed(rollout.plan.waves)))  # what nobody misses comes first

    def unwell() -> None:
        raise ChecksError("the fleet is not as it should be", step="checks")

    rollout.finish = unwell
    rollout.carry_out()
    assert rollout.exit == 5 and fleet.busy == {"web1-8000": OLD}
    assert fleet.current == {"web1": OLD, "web2": None}, "deploy reload goes to the newest of them where they are even"


def test_one_that_stayed_behind_and_a_fleet_that_fails_its_checks_has_its_own_current_again() -> None:
    fleet = World(topology(2, 1, rolling={"soak": 0}))
    fleet.serving["web2-8000"], fleet.current["web2"] = ANCIENT, ANCIENT
    rollout = Rollout(fleet)

    def unwell() -> None:
        raise ChecksError("the fleet is not as it should be", step="checks")

    rollout.finish = unwell
    rollout.carry_out()
    assert rollout.exit == 5 and fleet.busy == {"web1-8000": OLD, "web2-8000": ANCIENT}
    assert fleet.current == {"web1": OLD, "web2": ANCIENT}


# -- Ctrl-C, and the last wave --------------------------------------------------------------------------------------


def test_a_person_stops_it_in_the_last_wave_and_that_is_not_the_end_of_a_good_run() -> None:
    fleet = World(topology(3, 1, rolling={"soak": 0}))
    rollout = Rollout(fleet)
    fleet.on("stopped", "web3", rollout.stop.set)
    rollout.carry_out()
    assert rollout.exit == 130 and set(fleet.busy.values()) == {OLD}


# -- changed ports that cannot go back, and changed secrets ---------------------------------------------------------


def test_changed_ports_that_cannot_go_back_and_the_secrets_are_those_that_what_serves_has_proven() -> None:
    rollout = moved(2)

    def unwell() -> None:
        raise AgentError("checks", "the fleet is not well")

    rollout.finish = rollout.reopen = unwell
    rollout.carry_out()
    assert rollout.exit == 6 and set(rollout.world.busy.values()) == {NEW}
    assert set(rollout.world.secrets.values()) == {"settled"}, "NEW starts with the secrets of before from now on"


# -- out of reach, and all others down ------------------------------------------------------------------------------


def test_the_only_one_that_serves_is_out_of_reach_and_is_not_taken_out_of_the_pool() -> None:
    shape = topology(2, 1, rolling={"soak": 0, "max_failures": 1, "strategy": "restart"})
    fleet = World(shape)
    fleet.serving["web1-8000"] = None  # it crashed; web2 serves all users, and SSH does not reach it
    failures = {"web2": UnreachableError("no answer", host="web2", step="connect", code="timeout")}
    fleet.topology = unreachable.without(shape, failures, "push")
    fleet.lost.add("web2")
    fleet.lowest = fleet.available
    for pool in fleet.pools.values():
        pool["web2-8500"] = Slot("maint", "spare")
    rollout = Rollout(fleet)
    rollout.run.absent = failures
    fleet.bad = {(NEW, "web1")}
    rollout.carry_out()
    assert rollout.exit == 5 and fleet.available == 1, "everything was put back, and nobody serves"


# -- changed ports, and what a person drained ------------------------------------------------------------------------


def test_changed_ports_and_what_a_person_took_out_stays_out_at_its_new_port() -> None:
    rollout = moved(3)
    fleet = rollout.world
    fleet.hold("web1-7000", "person")
    rollout.carry_out()
    assert rollout.exit == 0 and fleet.serving["web1-8000"] == NEW
    assert ("web1-8000", NEW) not in fleet.shown, "what a person drained stays drained through a push"


# -- back from the dead, beside -------------------------------------------------------------------------------------


def test_back_from_the_dead_and_a_successor_that_goes_back_shows_nobody_the_earlier_release() -> None:
    fleet = back_from_the_dead(strategy="bluegreen")
    fleet.bad = {(NEW, "web3")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and fleet.serving["web1-8000"] == ANCIENT
    assert ("web1-8000", ANCIENT) not in fleet.shown


# -- the policy is to stop, and the fleet fails its checks ----------------------------------------------------------


def test_stop_and_a_fleet_that_fails_its_checks_stops() -> None:
    """strategies.md: "`stop`, nothing more is touched (exit 6)"; architecture.md: "a failure up to the checks"."""
    fleet = World(topology(3, 1, rolling={"soak": 0, "on_failure": "stop"}))
    rollout = Rollout(fleet)

    def unwell() -> None:
        raise ChecksError("the fleet is not as it should be", step="checks")

    rollout.finish = unwell
    rollout.carry_out()
    assert rollout.exit == 6 and set(fleet.busy.values()) == {NEW}


# -- a dead push, and the next of the same release that fails -------------------------------------------------------


def test_a_dead_push_had_changed_one_and_the_next_fails_and_says_who_serves_what() -> None:
    fleet = World(topology(3, 1, rolling={"soak": 0}))
    fleet.serving["web1-8000"] = NEW  # the dead run had proven and admitted it
    fleet.bad = {(NEW, "web3")}
    rollout = Rollout(fleet)
    kept = InstanceStep("web1", 0, 8000, "keep", NEW)
    rollout.plan = replace(rollout.plan, waves=rollout.plan.waves[1:], kept=(kept,))
    rollout.carry_out()
    assert rollout.exit == 5 and fleet.busy == {"web1-8000": NEW, "web2-8000": OLD, "web3-8000": OLD}
    assert rollout.error is not None and "web1:0" in str(rollout.error) + str(rollout.error.hint)


# -- a singleton that moves, and a host that is left out or lost -----------------------------------------------------


def with_beat() -> Topology:
    """Two hosts and a singleton, which is web1's."""
    shape = topology(2, 1, processes={"beat": {"command": "celery -A shop beat", "singleton": True}})
    return replace(shape, process_hosts={"beat": ("web1",)})


def test_a_singleton_moves_and_a_limit_leaves_its_host_out_so_it_does_not_start_twice() -> None:
    """web1 is new and the first of `hosts`; web2 had the singleton until now, and `-l web1` leaves it out."""
    every = with_beat()
    shape = replace(every, web=every.web[:1], spared=every.web[1:])
    plan = make_plan(DesiredRelease("push", NEW), shape, facts(host("web1", [NEW])))
    assert [step.name for step in plan.processes] == [], "docs/processes.md: a singleton never runs twice"


class Beating(World):
    """Notes which hosts run the singleton."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beating = {"web2"}
        self.most = 1

    def _beats(self) -> dict[str, Any]:
        self.most = max(self.most, len(self.beating))
        return {"pid": 100, "seconds": 0.0, "changed": True}

    def processes_switch(self, host: str, args: Any) -> dict[str, Any]:
        self.beating.add(host)
        return self._beats()

    def processes_stop(self, host: str, args: Any) -> dict[str, Any]:
        self.beating.discard(host)
        self._beats()
        return {"stopped": True}


def test_a_singleton_moved_and_its_new_host_is_lost_so_it_does_not_start_again_where_it_was() -> None:
    fleet = Beating(with_beat())
    rollout = Rollout(fleet)
    steps = (
        ProcessStep("web2", "beat", 1, "stop", OLD, first=True),
        ProcessStep("web1", "beat", 1, "start", None),
    )
    moves = Processes(rollout.run, replace(rollout.plan, processes=steps), via="push")
    moves.forward()
    assert fleet.beating == {"web1"}
    fleet.loses("web1")  # its link: what runs there goes on
    moves.back()
    assert fleet.most == 1, "docs/processes.md: a singleton never runs twice"


# -- changed ports, somebody who holds one of before out, and a fleet that fails its checks -------------------------


@pytest.mark.parametrize("by", ["person", "quarantine"])
def test_changed_ports_that_go_back_and_what_was_held_out_is_held_out_again(by: str) -> None:
    rollout = moved(3)
    fleet = rollout.world
    fleet.hold("web1-7000", by)

    def unwell() -> None:
        raise AgentError("checks", "the fleet is not well")

    rollout.finish = unwell
    rollout.carry_out()
    assert rollout.exit == 5 and fleet.serving["web1-7000"] == OLD
    assert fleet.out.get("web1-7000") == by, "nobody lifted it"
