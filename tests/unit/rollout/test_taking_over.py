"""Traffic moves from what another tool runs to ours, and that stops: in this order, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted import Rollout, World
from support.facts import facts, host
from support.topologies import topology

from deployer.errors import DeployError, FrozenError, NotReadyError
from deployer.events import Warned
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology
from deployer.rollout.steps import takeover


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
    assert takeover.lead(rollout.run, there()) and fleet.led == {"lb1", "lb2"} and not fleet.retired
    takeover.retire(rollout.run, there())
    assert fleet.retired == {"web1", "web2"} and warnings(rollout) == ""


def test_what_the_first_balancer_refuses_ends_the_push_while_all_can_go_back() -> None:
    fleet = world()
    fleet.fails("adopting.move", "lb1", "invalid")
    with pytest.raises(DeployError):
        takeover.lead(Rollout(fleet).run, there())
    assert fleet.led == set()


@pytest.mark.parametrize(("where", "code"), [("lb2", "invalid"), ("lb1", "unsettled")])
def test_once_one_may_lead_to_ours_they_stay_and_a_person_is_told(where: str, code: str) -> None:
    fleet = world()
    fleet.fails("adopting.move", where, code)
    rollout = Rollout(fleet)
    assert not takeover.lead(rollout.run, there()), "so nothing is retired"
    assert "may still lead to what was there before" in warnings(rollout)
    assert fleet.led == {"lb1", "lb2"} - {where}


def test_a_lost_session_tells_nothing_so_ours_stay() -> None:
    fleet = world()
    fleet.on("adopting.move", "lb1", lambda: fleet.loses("lb1"))
    assert not takeover.lead(Rollout(fleet).run, there())


def test_nobody_is_led_to_a_pool_in_which_nothing_serves() -> None:
    fleet = World(topology(2, 2), release=None)
    with pytest.raises(DeployError) as caught:
        takeover.lead(Rollout(fleet).run, there())
    assert caught.value.code == "nobody_serves" and fleet.led == set()


def test_a_unit_that_users_were_led_back_to_is_not_retired() -> None:
    fleet = world()
    fleet.led = {"lb1"}
    rollout = Rollout(fleet)
    takeover.retire(rollout.run, there("recorded", ("moved", "moved")))
    assert fleet.retired == set() and "lb2 do not lead to ours" in warnings(rollout)
    fleet.led = {"lb1", "lb2"}
    fleet.fails("balancer.state", "lb2", "balancer_down")
    takeover.retire(rollout.run, there("recorded", ("moved", "moved")))
    assert fleet.retired == set() and "not known what the balancers do" in warnings(rollout)


def test_the_next_push_goes_on_where_one_had_begun_and_nowhere_else() -> None:
    fleet = world()
    rollout = Rollout(fleet)
    assert not takeover.resume(rollout.run, there()), "what was only allowed waits for the end of a push"
    assert not takeover.resume(rollout.run, there("retired", ("moved", "moved")))
    assert fleet.led == fleet.retired == set()
    with pytest.raises(FrozenError):
        takeover.resume(rollout.run, there("recorded", ("moving", "recorded"), frozen={"who": "me", "reason": "no"}))
    assert takeover.resume(rollout.run, there("recorded", ("moving", "recorded")))
    assert fleet.led == {"lb1", "lb2"} and fleet.retired == {"web1", "web2"}


UNIT = {"unit": "shop.service", "ports": [8000], "pid": 812, "command": "gunicorn app", "enabled": True, "why": ""}


def met(shape: Topology, *, anew: bool = False, **unit: Any) -> takeover.Adoption | None:
    """What setup finds where web1 has a foreign unit at the app's port."""
    taken = {"8000": {"pid": 812, "unit": "shop.service", "command": "gunicorn app", "ours": False, "socket": False}}
    taken_on: dict[str, dict[str, Any]] = {"web1": {"ports": taken}}
    hosts = [host(web.name, **taken_on.get(web.name, {})) for web in shape.web]
    found = facts(*hosts, *(host(balancer.name) for balancer in shape.balancers))
    fleet = World(shape, foreign={"web1": {**UNIT, **unit}})
    return takeover.find_takeover(Rollout(fleet).run, found, anew=anew)


def test_setup_shows_all_that_it_would_take_over() -> None:
    adoption = met(topology(2, 1))
    assert adoption is not None
    error = adoption.refused("prod")
    assert error.code == "foreign" and error.exit_status == 3 and error.host == "web1"
    assert error.log[0] == "web1: shop.service listens at port 8000: gunicorn app (pid 812)"
    assert error.log[1:] == ("lb1: /etc/haproxy/haproxy.cfg", "-old", "+new")
    assert "deploy setup prod --replace" in str(error.hint)
    assert adoption.fronts["lb1"]["places"]["192.0.2.1:8000"] == "web1"
    assert adoption.fronts["lb1"]["backend"] == "shop-prod"


def test_an_nginx_is_asked_which_of_its_files_leads_there() -> None:
    adoption = met(topology(2, 1, kind="nginx"))
    assert adoption is not None
    front = adoption.fronts["lb1"]
    assert (front["kind"], front["backend"]) == ("nginx", "unix:/run/deploy-nginx/shop-prod.sock")
    assert front["path"] == "/etc/nginx/sites-enabled/shop"


@pytest.mark.parametrize(
    ("shape", "unit", "because", "way_out"),
    [
        (topology(2, 0), {}, "users come to its port directly", "put a balancer before it first"),
        (topology(2, 1, kind="caddy"), {}, "only frontends of an HAProxy or nginx", "another `port:`"),
        (topology(2, 1, balancer={"manage": False}), {}, "only frontends of an HAProxy or nginx", "another `port:`"),
        (topology(2, 1), {"why": "docker.service runs more"}, "docker.service runs more", "another `port:`"),
        (topology(2, 1), {"unit": "shop@8000.service"}, "its very name", "another `port:`"),
    ],
)
def test_what_cannot_be_taken_over_says_why_and_the_way_out(
    shape: Topology, unit: dict[str, Any], because: str, way_out: str
) -> None:
    for anew in (False, True):
        with pytest.raises(NotReadyError) as caught:
            met(shape, anew=anew, **unit)
        assert because in caught.value.message and way_out in str(caught.value.hint)
        assert "docs/adopting.md" in str(caught.value.hint)


def test_all_hosts_at_once() -> None:
    shape = topology(2, 1)
    with pytest.raises(NotReadyError) as caught:
        met(replace(shape, web=shape.web[:1], spared=shape.web[1:]))
    assert "leaves some out" in caught.value.message


def test_a_host_on_which_nobody_is_is_nobodys_business() -> None:
    shape = topology(2, 1)
    free = facts(*(host(name) for name in ("web1", "web2", "lb1")))
    assert takeover.find_takeover(Rollout(World(shape)).run, free, anew=True) is None
