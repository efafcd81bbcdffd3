"""Traffic moves from what another tool runs to ours, and that stops: in this order, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import Rollout, World
from support.facts import facts, host
from support.topologies import topology

from deployer.errors import DeployError, FrozenError
from deployer.events import Warned
from deployer.plan.facts import Facts
from deployer.rollout import adopting


def world() -> World:
    return World(topology(2, 2))


def there(units: str = "recorded", fronts: tuple[str, str] = ("recorded", "recorded"), **more: Any) -> Facts:
    unit = {"unit": "shop.service", "ports": [8000], "enabled": True, "state": units}
    led = {"path": "/etc/haproxy/haproxy.cfg", "backend": "shop-prod", "backends": ["old"], "places": {}, "diff": "-+"}
    webs = [host(name, adoption={"units": [unit], "front": None}, **more) for name in ("web1", "web2")]
    states = zip(("lb1", "lb2"), fronts, strict=True)
    return facts(
        *webs, *(host(name, adoption={"units": [], "front": {**led, "state": state}}) for name, state in states)
    )


def warnings(rollout: Rollout) -> str:
    return " ".join(event.message for event in rollout.events if isinstance(event, Warned))


def test_all_fronts_lead_to_ours_and_then_the_units_retire() -> None:
    fleet = world()
    rollout = Rollout(fleet)
    assert adopting.lead(rollout.run, there()) and fleet.led == {"lb1", "lb2"} and not fleet.retired
    adopting.retire(rollout.run, there())
    assert fleet.retired == {"web1", "web2"} and warnings(rollout) == ""


def test_what_the_first_balancer_refuses_ends_the_push_while_all_can_go_back() -> None:
    fleet = world()
    fleet.fails("adopting.move", "lb1", "invalid")
    with pytest.raises(DeployError):
        adopting.lead(Rollout(fleet).run, there())
    assert fleet.led == set()


@pytest.mark.parametrize(("where", "code"), [("lb2", "invalid"), ("lb1", "unsettled")])
def test_once_one_may_lead_to_ours_they_stay_and_a_person_is_told(where: str, code: str) -> None:
    fleet = world()
    fleet.fails("adopting.move", where, code)
    rollout = Rollout(fleet)
    assert not adopting.lead(rollout.run, there()), "so nothing is retired"
    assert "may still lead to what was there before" in warnings(rollout)
    assert fleet.led == {"lb1", "lb2"} - {where}


def test_a_lost_session_tells_nothing_so_ours_stay() -> None:
    fleet = world()
    fleet.on("adopting.move", "lb1", lambda: fleet.loses("lb1"))
    assert not adopting.lead(Rollout(fleet).run, there())


def test_nobody_is_led_to_a_pool_in_which_nothing_serves() -> None:
    fleet = World(topology(2, 2), release=None)
    with pytest.raises(DeployError) as caught:
        adopting.lead(Rollout(fleet).run, there())
    assert caught.value.code == "nobody_serves" and fleet.led == set()


def test_a_unit_that_users_were_led_back_to_is_not_retired() -> None:
    fleet = world()
    fleet.led = {"lb1"}
    rollout = Rollout(fleet)
    adopting.retire(rollout.run, there("recorded", ("moved", "moved")))
    assert fleet.retired == set() and "lb2 do not lead to ours" in warnings(rollout)
    fleet.led = {"lb1", "lb2"}
    fleet.fails("balancer.state", "lb2", "balancer_down")
    adopting.retire(rollout.run, there("recorded", ("moved", "moved")))
    assert fleet.retired == set() and "not known what the balancers do" in warnings(rollout)


def test_the_next_push_goes_on_where_one_had_begun_and_nowhere_else() -> None:
    fleet = world()
    rollout = Rollout(fleet)
    assert not adopting.resume(rollout.run, there()), "what was only allowed waits for the end of a push"
    assert not adopting.resume(rollout.run, there("retired", ("moved", "moved")))
    assert fleet.led == fleet.retired == set()
    with pytest.raises(FrozenError):
        adopting.resume(rollout.run, there("recorded", ("moving", "recorded"), frozen={"who": "me", "reason": "no"}))
    assert adopting.resume(rollout.run, there("recorded", ("moving", "recorded")))
    assert fleet.led == {"lb1", "lb2"} and fleet.retired == {"web1", "web2"}
