"""Waves of reloads: workers are replaced under their master, drained first where others serve."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

from deployer.errors import ChecksError


def world(web: int = 3, balancers: int = 1, served_by: str = "gunicorn", **settings: Any) -> World:
    rolling = {"soak": 0, "strategy": "reload", **settings.pop("rolling", {})}
    return World(topology(web, balancers, served_by=served_by, rolling=rolling, **settings))


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn+uvicorn"])
def test_each_is_drained_first_so_that_nobody_sees_an_unproven_release(server: str) -> None:
    fleet = world(3, served_by=server)
    assert Rollout(fleet).carry_out().exit == 0
    assert set(fleet.busy.values()) == {NEW} and len(fleet.reloaded) == 3
    assert fleet.harm == [] and fleet.lowest == 2 and fleet.out == {}


def test_one_alone_is_not_since_nobody_else_would_serve() -> None:
    fleet = world(1, served_by="gunicorn+uvicorn")
    assert Rollout(fleet).carry_out().exit == 0
    assert fleet.lowest == 1 and fleet.reloaded == ["web1-8000"]


def test_without_a_balancer_nothing_stops() -> None:
    fleet = world(2, 0, served_by="uvicorn")
    assert Rollout(fleet, OLD, via="reload").carry_out().exit == 0
    assert fleet.reloaded == ["web1-8000", "web2-8000"] and fleet.harm == []


def test_a_release_that_cannot_be_loaded_costs_nothing() -> None:
    fleet = world(3)
    fleet.bad = {(NEW, "web2")}
    assert Rollout(fleet).carry_out().exit == 5
    assert set(fleet.busy.values()) == {OLD} and fleet.harm == [] and fleet.lowest == 2 and fleet.out == {}


def test_what_was_reloaded_goes_back_in_the_same_way() -> None:
    fleet = world(2, served_by="gunicorn+uvicorn")
    rollout = Rollout(fleet)

    def finish() -> None:
        raise ChecksError("the fleet is not as it should be", step="checks")

    rollout.finish = finish
    assert rollout.carry_out().exit == 5
    assert set(fleet.busy.values()) == {OLD} and fleet.out == {} and fleet.harm == []
    assert fleet.reloaded == ["web1-8000", "web2-8000", "web2-8000", "web1-8000"]
