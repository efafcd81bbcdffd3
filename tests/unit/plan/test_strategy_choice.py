"""What `auto` picks, and what is refused, by who stands before the instances and who supervises them."""

from __future__ import annotations

from typing import Any

import pytest
from support.facts import facts, host
from support.topologies import topology

from deployer.errors import SettingsError
from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.rolling.strategy import choose
from deployer.plan.topology import Topology


@pytest.mark.parametrize(
    ("shape", "picked", "because"),
    [
        (topology(3, 1), "restart", "drained at haproxy"),
        (topology(1, 1), "bluegreen", "one instance only"),
        (topology(3, 0), "socket", "systemd holds the port"),
        (topology(1, 0, served_by="gunicorn"), "socket", "systemd holds the port"),
        (topology(1, 0, supervisor="supervisord"), "restart", "supervisord on web1 cannot hold a port"),
        (topology(1, 0, served_by="command"), "restart", "opens its port itself"),
        (topology(1, 0, served_by="gunicorn", supervisor="supervisord"), "reload", "gunicorn replaces its workers"),
        (topology(1, 0, served_by="gunicorn-asgi", supervisor="supervisord"), "reload", "its port stays open"),
        (topology(1, 0, served_by="gunicorn+uvicorn", supervisor="supervisord"), "restart", "cannot hold a port"),
        (topology(1, 1, served_by="gunicorn", supervisor="supervisord"), "bluegreen", "one instance only"),
    ],
)
def test_auto_picks(shape: Topology, picked: str, because: str) -> None:
    chosen = choose(shape)
    assert chosen.name == picked and because in chosen.why


def test_auto_restarts_where_a_reload_cannot_be_or_is_not_meant() -> None:
    shape = topology(1, 0, served_by="gunicorn", supervisor="supervisord")
    hindered = choose(shape, no_reload="secrets changed")
    assert hindered.name == "restart" and "supervisord" in hindered.why and "secrets changed" in hindered.why
    assert choose(shape, nothing_serves=True).name == choose(shape, all_at_once=True).name == "restart"
    asked = topology(1, 0, served_by="gunicorn", supervisor="supervisord", rolling={"strategy": "restart"})
    assert choose(asked).name == "restart"


def test_what_serves_at_other_ports_is_no_reason_to_start_all_at_once() -> None:
    old = "20240101T000000Z-aaaaaaaa"
    there = facts(*(host(f"web{n}", [old], current=old, serving=[], slots={"7000": old}) for n in (1, 2, 3)))
    wanted = DesiredRelease("push", "20240601T000000Z-bbbbbbbb")
    plan = make_plan(wanted, topology(3, 1), there)
    assert [len(wave) for wave in plan.waves] == [1, 1, 1] and "beside the previous one" in plan.strategy_why
    assert [step.leaves for step in plan.surplus] == [7000] * 3
    assert [len(wave) for wave in make_plan(wanted, topology(3, 0), there).waves] == [3], "nobody can lead users over"


@pytest.mark.parametrize("settings", [{"supervisor": "supervisord"}, {"served_by": "command"}])
@pytest.mark.parametrize("balancers", [0, 1])
def test_socket_is_refused_where_nobody_can_hold_the_port(settings: dict[str, Any], balancers: int) -> None:
    with pytest.raises(SettingsError) as caught:
        choose(topology(1, balancers, rolling={"strategy": "socket"}, **settings))
    assert "rolling.strategy: socket" in caught.value.message
    assert "balancers" in (caught.value.hint or ""), "a local balancer is the way out"


def test_ports_are_held_by_choice_or_for_want_of_a_balancer_only() -> None:
    assert topology(1, 0).holds_ports and not topology(1, 1).holds_ports
    assert topology(1, 1, rolling={"strategy": "socket"}).holds_ports
    assert not topology(1, 0, rolling={"strategy": "restart"}).holds_ports
    assert topology(1, 0).instance(topology(1, 0).web[0], 0, 8000).socket
