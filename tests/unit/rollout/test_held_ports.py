"""Waves without a balancer, where the supervisors hold the ports: nobody is refused, but where a port changes hands."""

from __future__ import annotations

from typing import Any

from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

NEWER = "20240701T000000Z-cccccccc"


def world(web: int = 2, **settings: Any) -> World:
    rolling = {"soak": 0, **settings.pop("rolling", {})}
    return World(topology(web, 0, rolling=rolling, **settings))


def held(web: int = 2, **settings: Any) -> World:
    fleet = world(web, **settings)
    fleet.held = {f"web{number}-8000" for number in range(1, web + 1)}
    return fleet


def test_the_first_push_opens_the_ports() -> None:
    fleet = world(2)
    fleet.serving = dict.fromkeys(fleet.serving)
    assert Rollout(fleet).carry_out().exit == 0
    assert fleet.held == {"web1-8000", "web2-8000"} and fleet.harm == []


def test_a_push_goes_through_held_ports_and_refuses_nobody() -> None:
    fleet = held(3)
    assert Rollout(fleet).carry_out().exit == 0
    assert set(fleet.busy.values()) == {NEW} and len(fleet.held) == 3 and fleet.harm == []


def test_a_plain_bind_is_refused_once_and_never_again() -> None:
    fleet = world(2)
    assert Rollout(fleet).carry_out().exit == 0
    assert fleet.harm == ["web1-8000 refused requests", "web2-8000 refused requests"]
    fleet.release, fleet.harm = NEW, []
    assert Rollout(fleet, NEWER).carry_out().exit == 0
    assert fleet.harm == [] and set(fleet.busy.values()) == {NEWER}


def test_a_broken_release_goes_back_through_held_ports() -> None:
    fleet = held(2)
    fleet.bad = {(NEW, "web2")}
    assert Rollout(fleet).carry_out().exit == 5
    assert set(fleet.busy.values()) == {OLD} and fleet.harm == [] and len(fleet.held) == 2


def test_a_first_push_that_fails_closes_what_it_opened() -> None:
    fleet = World(topology(2, 0, rolling={"soak": 0}), release=None)
    fleet.bad = {(NEW, "web2")}
    assert Rollout(fleet, sizes=[2]).carry_out().exit == 5
    assert fleet.busy == {} and fleet.held == set()


def test_who_asks_for_restart_gives_the_ports_back() -> None:
    fleet = held(2, rolling={"strategy": "restart"})
    assert Rollout(fleet).carry_out().exit == 0
    assert fleet.held == set() and len(fleet.harm) == 2


def test_held_ports_behind_a_balancer_are_drained_all_the_same() -> None:
    fleet = World(topology(3, 1, rolling={"soak": 0, "strategy": "socket"}))
    assert Rollout(fleet).carry_out().exit == 0
    assert fleet.harm == [] and fleet.lowest == 2 and len(fleet.held) == 3
