"""Other ports: what served in slots that the settings no longer have serves there again, where the run goes back."""

from __future__ import annotations

from dataclasses import replace

from scripted import NEW, OLD, Rollout, Slot, World
from support.topologies import topology

from deployer.plan.model import InstanceStep
from deployer.remote.errors import AgentError

FORMER = {"web1": "web1-7000", "web2": "web2-7000"}


def moved() -> Rollout:
    """Two instances serve at ports of before, and start at new ones, one wave each."""
    fleet = World(topology(2, 1, rolling={"soak": 0}))
    fleet.serving = {**dict.fromkeys(fleet.serving), **dict.fromkeys(FORMER.values(), OLD)}
    fleet.pids |= dict.fromkeys(FORMER.values(), 100)
    for pool in fleet.pools.values():
        pool.update({server: Slot() for server in FORMER.values()})
    rollout = Rollout(fleet)
    steps = {step: replace(step, action="start", before=None) for step in rollout.plan.steps}
    surplus = tuple(InstanceStep(host, 0, 7000, "keep", OLD, 7000) for host in FORMER)
    rollout.plan = replace(rollout.plan.instead(steps), surplus=surplus)
    return rollout


def unwell() -> None:
    raise AgentError("checks", "the fleet is not well")


def test_they_move() -> None:
    rollout = moved().carry_out()
    assert rollout.error is None and rollout.world.busy == {"web1-8000": NEW, "web2-8000": NEW}


def test_at_the_very_end_the_ports_of_before_serve_again_before_the_others_go() -> None:
    rollout = moved()
    reopened: list[dict[str, str]] = []
    rollout.reopen = lambda: reopened.append(rollout.world.busy)
    rollout.finish = unwell
    rollout.carry_out()
    assert rollout.exit == 5 and rollout.world.busy == dict.fromkeys(FORMER.values(), OLD)
    assert reopened == [{"web1-8000": NEW, "web2-8000": NEW}], "the balancers know the ports of before by then"
    assert rollout.world.lowest >= 2 and rollout.world.harm == []


def test_where_they_cannot_what_took_their_place_goes_on() -> None:
    rollout = moved()
    rollout.finish = unwell
    rollout.world.on("instance.stop", "web1", lambda: rollout.world.fails("instance.switch", "web1"))
    rollout.carry_out()
    assert rollout.exit == 6 and rollout.world.busy["web1-8000"] == rollout.world.busy["web2-8000"] == NEW


def test_where_the_balancers_cannot_be_told_what_serves_goes_on() -> None:
    rollout = moved()
    rollout.finish = unwell
    rollout.reopen = unwell
    rollout.carry_out()
    assert rollout.exit == 6 and rollout.world.busy == {"web1-8000": NEW, "web2-8000": NEW}


def test_a_wave_that_fails_has_not_touched_them() -> None:
    rollout = moved()
    rollout.world.bad = {(NEW, "web2")}
    rollout.carry_out()
    assert rollout.exit == 5 and rollout.world.busy == dict.fromkeys(FORMER.values(), OLD)
    assert rollout.world.lowest >= 2 and rollout.world.harm == []
