"""Other addresses: what serves stays in the pools where it was, until it has served at its new address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted import OLD, Rollout, Slot, World
from support.facts import facts, host, server_state
from support.topologies import topology

from deployer.balancers.base import first_name, port_in, second_name
from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.facts import Facts
from deployer.plan.model import FileChange
from deployer.plan.rolling.slots import Standing, left_out, moved, seconds, standing
from deployer.plan.serving import unserved
from deployer.remote.errors import AgentError

BEFORE = {number: f"198.51.100.{number}:8000" for number in (1, 2, 3)}
FIRST, SECOND = ({f"web{number}-8000{end}" for number in BEFORE} for end in ("", ".2"))


def moving(*silent: str, **rolling: Any) -> Rollout:
    """Instances whose balancer knows them elsewhere than the inventory; it has a second server for each by now."""
    fleet = World(topology(3, 1, rolling={"soak": 0, **rolling}), silent_places=set(silent))
    for pool in fleet.pools.values():
        pool.update({f"web{number}-8000.2": Slot("maint", "spare") for number in BEFORE})
    fleet.places = {f"web{number}-8000": at for number, at in BEFORE.items()}
    fleet.places |= {f"web{number}-8000.2": f"192.0.2.{number}:8000" for number in BEFORE}
    return Rollout(fleet)


def ready(fleet: World) -> set[str]:
    return {server for pool in fleet.pools.values() for server, slot in pool.items() if slot.admin == "ready"}


def test_they_come_to_it_one_by_one() -> None:
    rollout = moving().carry_out()
    fleet = rollout.world
    assert rollout.error is None and fleet.harm == [] and fleet.lowest >= 2
    assert ready(fleet) == SECOND
    assert ("web1-8000.2", OLD) not in fleet.shown


def test_where_nothing_answers_there_they_serve_where_they_did() -> None:
    rollout = moving(*(f"192.0.2.{number}:8000" for number in BEFORE)).carry_out()
    fleet = rollout.world
    assert rollout.exit == 5 and fleet.busy == dict.fromkeys(FIRST, OLD)
    assert ready(fleet) == FIRST and fleet.lowest >= 2 and fleet.harm == []


def test_one_that_does_not_answer_there_takes_the_others_back() -> None:
    rollout = moving("192.0.2.2:8000").carry_out()
    assert rollout.exit == 5 and rollout.world.available == 3 and rollout.world.harm == []
    assert ready(rollout.world) == FIRST


def test_one_that_a_person_holds_out_is_held_out_there_too() -> None:
    rollout = moving(max_unavailable=2)
    rollout.world.hold("web1-8000", "person")
    rollout.carry_out()
    assert rollout.error is None and rollout.world.out == {"web1-8000.2": "person"}


def test_one_that_a_person_holds_out_is_held_out_where_it_goes_back() -> None:
    rollout = moving("192.0.2.3:8000")
    rollout.world.hold("web1-8000", "person")
    rollout.carry_out()
    assert rollout.exit == 5 and rollout.world.out == {"web1-8000": "person"}


def test_the_end_of_a_run_fails_and_they_serve_where_they_did() -> None:
    """The pools know the addresses of now alone by then, under the first names."""
    rollout = moving()
    fleet = rollout.world

    def unwell() -> None:
        for pool in fleet.pools.values():
            for number in BEFORE:
                pool[f"web{number}-8000"] = pool.pop(f"web{number}-8000.2")
        fleet.places = {f"web{number}-8000": f"192.0.2.{number}:8000" for number in BEFORE}
        raise AgentError("checks", "the fleet is not well")

    def reopen() -> None:
        for pool in fleet.pools.values():
            pool.update({f"web{number}-8000.2": Slot("maint") for number in BEFORE})
        fleet.places |= {f"web{number}-8000.2": at for number, at in BEFORE.items()}

    rollout.finish, rollout.reopen = unwell, reopen
    rollout.carry_out()
    assert rollout.exit == 5 and fleet.busy == dict.fromkeys(FIRST, OLD) and fleet.harm == []
    assert ready(fleet) == SECOND and fleet.lowest >= 2


# -- what is seen before a run --------------------------------------------------------------------------------------


def known(**places: str) -> Facts:
    """Two hosts that serve, and what a balancer tells of their servers (`_` for `-`, `__` for `.`)."""
    named = {name.replace("__", ".").replace("_", "-"): at for name, at in places.items()}
    servers = {name: server_state(address=at) for name, at in named.items()}
    both = facts(*(host(f"web{number}", [OLD], current=OLD) for number in (1, 2)))
    return Facts(both.hosts, {"lb1": servers})


def test_a_server_elsewhere_gets_a_second_name_for_the_run() -> None:
    shape, found = topology(2, 1), known(web1_8000="198.51.100.1:8000", web2_8000="192.0.2.2:8000")
    assert moved(shape, found) == {"web1-8000": "198.51.100.1:8000"}
    assert seconds(shape, found) == {"web1-8000.2": "192.0.2.1:8000"}
    assert standing(shape, found) == Standing({}, {"web1-8000": "198.51.100.1:8000"})


def test_what_a_run_leaves_out_stays_where_it_is() -> None:
    every, found = topology(2, 1), known(web1_8000="198.51.100.1:8000", web2_8000="198.51.100.2:8000")
    shape = replace(every, web=every.web[:1], spared=every.web[1:])
    assert seconds(shape, found) == {"web1-8000.2": "192.0.2.1:8000"}
    assert left_out(shape, found) == Standing({}, {"web2-8000": "198.51.100.2:8000"})


def test_a_run_that_died_on_the_way_leaves_a_third_address_to_leave() -> None:
    found = known(web1_8000="198.51.100.1:8000", web1_8000__2="198.51.100.9:8000", web2_8000="192.0.2.2:8000")
    kept = standing(topology(2, 1), found)
    assert kept.others == {"web1-8000.3": "198.51.100.9:8000"}
    again = known(web1_8000="192.0.2.1:8000", web1_8000__2="198.51.100.9:8000", web2_8000="192.0.2.2:8000")
    assert standing(topology(2, 1), again) == Standing({"web1-8000.3": "198.51.100.9:8000"}, {})


def test_the_same_address_written_otherwise_is_no_other_address() -> None:
    own = {"web1": {"address": "2001:DB8::0:1"}}
    assert moved(topology(2, 1, own), known(web1_8000="[2001:db8::1]:8000", web2_8000="192.0.2.2:8000")) == {}


@pytest.mark.parametrize("changes", [True, False])
def test_one_that_serves_the_release_goes_through_a_wave_where_the_pools_change(changes: bool) -> None:
    found = known(web1_8000="198.51.100.1:8000", web2_8000="192.0.2.2:8000")
    files = [FileChange("lb1", "file", "50-shop-prod.cfg", "change")] if changes else []
    plan = make_plan(DesiredRelease("push", OLD), topology(2, 1), found, changes=files)
    assert [(step.name, step.action) for step in plan.steps] == ([("web1:0", "settle")] if changes else [])


def test_a_run_that_died_on_the_way_leaves_one_that_serves() -> None:
    found = known(web1_8000="198.51.100.1:8000", web1_8000__2="192.0.2.1:8000", web2_8000="192.0.2.2:8000")
    held = server_state("MAINT", held={"by": "spare"}, address="198.51.100.1:8000")
    half = Facts(found.hosts, {"lb1": {**found.pools["lb1"], "web1-8000": held}})
    assert unserved(topology(2, 1), half) == {}


def test_names_of_servers() -> None:
    assert second_name("web1-8000") == "web1-8000.2" and first_name("web1-8000.2") == "web1-8000"
    assert first_name("web1.example-8000") == "web1.example-8000" and first_name("a.2-80.2") == "a.2-80"
    assert port_in("web1-8000.2", "web1") == 8000 and port_in("web1-8000.2", "web2") is None
