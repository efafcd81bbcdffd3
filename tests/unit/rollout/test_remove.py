"""The app leaves hosts of a fleet in memory: never at the cost of those that stay, and to its end at the second try."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from scripted import OLD, World
from support.facts import bare_host
from support.topologies import topology

from deployer.errors import RolloutError
from deployer.events import Bus
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology
from deployer.remote.errors import AgentError
from deployer.rollout.commands.remove import Off
from deployer.rollout.run.record import Record
from deployer.rollout.run.run import Run


def leaves(fleet: World, *hosts: str) -> None:
    """Takes the app off these hosts, as a limit names them, in a run of its own."""
    fleet.bounds.clear()
    whole = fleet.topology
    going = tuple(web for web in whole.web if web.name in hosts)
    stay = tuple(web for web in whole.web if web.name not in hosts)
    shape: Topology = replace(whole, web=going, spared=stay)
    bus = Bus(lambda event: None, run="run-1")
    run = Run(shape, fleet, bus, Record("remove"), "me@here", threading.Event())  # type: ignore[arg-type]
    Off(run, facts(fleet, shape), shape).carry_out()


def facts(fleet: World, shape: Topology) -> Facts:
    found = {}
    for web in shape.web:
        used = {str(port): OLD for port in web.ports if fleet.serving[shape.server(web.name, port)]}
        found[web.name] = bare_host(web.name, slots=used)
    return Facts(found, {name: fleet.balancer_state(name, {})["servers"] for name in fleet.pools})


def test_one_of_three_is_drained_stopped_and_forgotten_by_the_pools() -> None:
    fleet = World(topology(3, 2))
    leaves(fleet, "web3")
    assert fleet.harm == [] and fleet.lowest == 2
    assert set(fleet.busy) == {"web1-8000", "web2-8000"} and fleet.emptied == ["web3"]
    for pool in fleet.pools.values():
        assert {server.rpartition("-")[0] for server in pool} == {"web1", "web2"}


def test_again_once_the_balancers_have_forgotten_the_app() -> None:
    fleet = World(topology(2, 1))
    leaves(fleet, "web1", "web2")
    fleet.pools.clear()
    leaves(fleet, "web1", "web2")
    assert fleet.emptied.count("web1") == 2


def test_one_after_the_other_as_long_as_enough_are_left() -> None:
    fleet = World(topology(4, 1, rolling={"max_unavailable": 1}))
    leaves(fleet, "web3", "web4")
    assert fleet.harm == [] and fleet.emptied == ["web3", "web4"] and fleet.available == 2


def test_the_guard_refuses_before_the_host_is_touched() -> None:
    fleet = World(topology(3, 1, rolling={"max_unavailable": 1}))
    fleet.serving["web1-8000"] = None
    with pytest.raises(RolloutError, match="1 more may not be taken out"):
        leaves(fleet, "web3")
    assert set(fleet.busy) == {"web2-8000", "web3-8000"} and fleet.emptied == [] and fleet.out == {}


def test_a_host_that_serves_nobody_may_always_leave() -> None:
    fleet = World(topology(3, 1, rolling={"max_unavailable": 1}))
    fleet.serving["web3-8000"] = None
    leaves(fleet, "web3")
    assert fleet.emptied == ["web3"] and fleet.available == 2


def test_all_leave_together_and_the_balancers_part_goes_too() -> None:
    fleet = World(topology(2, 1))
    leaves(fleet, "web1", "web2")
    assert fleet.harm == [] and fleet.busy == {} and set(fleet.emptied) == {"web1", "web2", "lb1"}
    folder = "/etc/haproxy/deploy"
    mine = ("50-shop-prod.cfg", "routes/shop-prod.json", "maintenance-shop-prod.html", "certificates/shop-prod.pem")
    assert ("lb1", tuple(f"{folder}/{name}" for name in mine)) in fleet.applied


@pytest.mark.parametrize("where", ["instance.stop", "resource.apply", "belongings.remove"])
def test_a_run_that_broke_off_is_taken_up_by_the_next(where: str) -> None:
    fleet = World(topology(3, 1))
    fleet.fails(where, "web3")
    with pytest.raises(AgentError, match="refused by the script"):
        leaves(fleet, "web3")
    assert fleet.emptied == []
    leaves(fleet, "web3")
    assert fleet.emptied == ["web3"] and set(fleet.busy) == {"web1-8000", "web2-8000"} and fleet.harm == []
