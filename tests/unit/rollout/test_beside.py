"""Blue/green waves against a fleet in memory: capacity never falls, and the way back is short."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, World
from support.topologies import topology

from deployer.errors import ChecksError, NeedsPersonError
from deployer.events import Event, WaveFinished


def world(web: int = 3, **settings: Any) -> World:
    rolling = {"soak": 0, "strategy": "bluegreen", **settings.pop("rolling", {})}
    return World(topology(web, 2, rolling=rolling, **settings))


def in_slots(fleet: World, first: int, release: str) -> bool:
    """Every instance serves `release` in the slot that begins at port `first`, nothing else runs, nobody is out."""
    expected = {server: release for server in fleet.serving if server.endswith(f"-{first}")}
    return fleet.busy == expected and fleet.out == {} and set(fleet.current.values()) == {release}


def test_every_instance_moves_to_its_other_slot_and_nobody_is_missed() -> None:
    fleet = world(3)
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 0 and in_slots(fleet, 8500, NEW)
    assert fleet.harm == [] and fleet.lowest == 3
    assert rollout.record.hosts["web2"]["instances"]["0"] == {"port": 8500, "release": NEW, "state": "proven"}


def test_and_back_to_the_first_slots_with_the_next_release() -> None:
    fleet = world(3)
    Rollout(fleet).carry_out()
    fleet.release = NEW
    newer = "20240701T000000Z-cccccccc"
    assert Rollout(fleet, newer).carry_out().exit == 0
    assert in_slots(fleet, 8000, newer) and fleet.harm == [] and fleet.lowest == 3


def test_one_instance_alone() -> None:
    fleet = world(1)
    assert Rollout(fleet).carry_out().exit == 0
    assert in_slots(fleet, 8500, NEW) and fleet.harm == [] and fleet.lowest == 1


def test_two_of_three_that_a_person_holds_out_stop_no_successor() -> None:
    fleet = world(3)
    fleet.hold("web1-8000", "person")
    fleet.hold("web2-8000", "person")
    assert Rollout(fleet).carry_out().exit == 0
    assert set(fleet.busy.values()) == {NEW} and fleet.harm == [] and fleet.lowest == 1


def test_no_successor_gets_a_request_before_its_checks() -> None:
    fleet = world(2)
    rollout = Rollout(fleet)
    seen: list[bool] = []
    rollout.checks = lambda steps, release: seen.extend((f"{s.host}-{s.port}", NEW) in fleet.shown for s in steps)
    rollout.carry_out()
    assert seen == [False, False] and ("web1-8500", NEW) in fleet.shown


@pytest.mark.parametrize("host", ["web1", "web2", "web3"])
def test_a_successor_that_does_not_start_costs_nothing(host: str) -> None:
    fleet = world(3)
    fleet.bad = {(NEW, host)}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 5 and in_slots(fleet, 8000, OLD)
    assert fleet.harm == [] and fleet.lowest == 3


def test_a_wave_of_which_one_fails_leaves_all_as_it_was() -> None:
    fleet = world(4)
    fleet.bad = {(NEW, "web3")}
    assert Rollout(fleet, sizes=[4]).carry_out().exit == 5
    assert in_slots(fleet, 8000, OLD) and fleet.harm == [] and fleet.lowest == 4
    assert not any(release == NEW for _, release in fleet.shown)


def test_checks_that_fail_leave_the_successor_unseen() -> None:
    fleet = world(2)
    rollout = Rollout(fleet)

    def checks(steps: Any, release: str) -> None:
        raise ChecksError("1 of 4 checks failed", host="web1", step="checks")

    rollout.checks = checks
    rollout.carry_out()
    assert rollout.exit == 5 and in_slots(fleet, 8000, OLD) and not any(found == NEW for _, found in fleet.shown)


def test_what_was_there_before_is_not_stopped_until_the_wave_was_watched() -> None:
    """It fails while it is watched: the one before still runs, and is put back as it is."""
    fleet = world(2, rolling={"soak": 0.01})
    pids = dict(fleet.pids)
    fleet.on("instance.prove", "web1", lambda: None)
    fleet.on("instance.prove", "web1", lambda: fleet.sick.add((NEW, "web1")))
    assert Rollout(fleet).carry_out().exit == 5
    assert in_slots(fleet, 8000, OLD) and fleet.harm == [] and fleet.lowest == 2
    assert fleet.pids["web1-8000"] == pids["web1-8000"], "it was restarted"


def test_a_later_wave_fails_and_the_earlier_ones_go_back_beside_too() -> None:
    fleet = world(3)
    fleet.bad = {(NEW, "web3")}
    Rollout(fleet, sizes=[2, 1]).carry_out()
    assert in_slots(fleet, 8000, OLD) and fleet.lowest == 3


def test_the_fleet_fails_its_checks_when_every_predecessor_is_gone() -> None:
    fleet = world(3)
    rollout = Rollout(fleet)

    def finish() -> None:
        raise ChecksError("the fleet is not as it should be", step="checks")

    rollout.finish = finish
    assert rollout.carry_out().exit == 5
    assert in_slots(fleet, 8000, OLD) and fleet.harm == [] and fleet.lowest == 3


def test_what_a_person_took_out_stays_out_in_its_other_slot() -> None:
    fleet = world(3)
    fleet.hold("web2-8000", "person")
    assert Rollout(fleet).carry_out().exit == 0
    assert fleet.out == {"web2-8500": "person"} and fleet.lowest == 2
    assert ("web2-8500", NEW) not in fleet.shown and fleet.serving["web2-8500"] == NEW


def test_a_host_is_lost_while_a_successor_starts() -> None:
    fleet = world(3)
    fleet.on("stopped", "web2", lambda: fleet.loses("web2"))
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and rollout.error.host == "web2"
    assert fleet.out == {"web2-8000": "quarantine"} and fleet.serving["web1-8000"] == OLD


def test_a_person_stops_it_between_two_waves() -> None:
    fleet = world(3)
    rollout = Rollout(fleet)

    def after_the_second(event: Event) -> None:
        if isinstance(event, WaveFinished) and event.number == 2:
            rollout.stop.set()

    rollout.bus.subscribe(after_the_second)
    assert rollout.carry_out().exit == 130
    assert in_slots(fleet, 8000, OLD) and fleet.harm == [] and fleet.lowest == 3


def test_a_predecessor_that_does_not_stop_is_only_a_warning() -> None:
    fleet = world(2)
    fleet.fails("instance.stop", "web1", "did_not_stop")
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 0 and fleet.serving["web1-8500"] == NEW
    assert ("web1-8000") in fleet.out, "it is out of the pools"
