"""An app that another tool runs: ours starts beside it, and what is taken over comes last in the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.facts import facts, host
from support.topologies import topology

from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.facts import Facts
from deployer.plan.rendering import render_plan
from deployer.plan.rolling import adopting
from deployer.plan.topology import Topology

NEW = "20240901T000000Z-new00000"
PUSH = DesiredRelease("push", NEW, ("web1", "web2"))


def unit(state: str = "recorded", **more: Any) -> dict[str, Any]:
    return {
        "unit": "shop.service",
        "ports": [8000],
        "pid": 7,
        "command": "gunicorn",
        "enabled": True,
        "state": state,
    } | more


def there(units: str = "recorded", front: str = "recorded") -> Facts:
    led = {"path": "/etc/haproxy/haproxy.cfg", "backend": "shop-prod", "backends": ["old"], "diff": "-old\n+new\n"}
    return facts(
        host("web1", adoption={"units": [unit(units)], "front": None}),
        host("web2"),
        host("lb1", adoption={"units": [], "front": {**led, "state": front}}),
    )


def shape() -> Topology:
    return topology(2, 1)


def test_ours_start_in_the_slot_that_is_free() -> None:
    plan = make_plan(PUSH, shape(), there())
    assert {step.name: (step.port, step.action) for step in plan.steps} == {
        "web1:0": (8500, "start"),
        "web2:0": (8000, "start"),
    }
    assert ("web1", 8000) in plan.unused, "the foreign server is in no pool of ours"
    after = make_plan(PUSH, shape(), there("retired", "moved"))
    assert {step.port for step in after.steps} == {8000}


def test_what_is_taken_over_comes_last_and_is_shown_with_its_diff() -> None:
    todo = adopting.still_to_do(shape(), there())
    assert [(change.host, change.kind, change.name) for change in todo] == [
        ("lb1", "front", "/etc/haproxy/haproxy.cfg"),
        ("web1", "foreign unit", "shop.service"),
    ]
    plan = make_plan(PUSH, shape(), there(), changes=todo)
    lines = render_plan(plan).splitlines()
    assert lines.index("then lead front /etc/haproxy/haproxy.cfg on lb1") > lines.index(
        "wave 1 of 1: web1:0 (start), web2:0 (start)"
    )
    assert "    +new" in lines and "then retire foreign unit shop.service on web1" in lines
    assert adopting.still_to_do(shape(), there("retired", "moved")) == []
    assert [change.kind for change in adopting.still_to_do(shape(), there("recorded", "moved"))] == ["foreign unit"]


def test_a_push_that_leaves_hosts_out_takes_nothing_over() -> None:
    whole = shape()
    part = replace(whole, web=whole.web[:1], spared=whole.web[1:])
    assert adopting.still_to_do(part, there()) == []
    assert adopting.held_back(part, there()) and not adopting.held_back(part, there("retired", "moved"))
    assert not adopting.held_back(whole, there())


def test_the_way_back_is_told_once_there_is_one() -> None:
    assert adopting.way_back(shape(), there()) == ""
    way = adopting.way_back(shape(), there("retired", "moved"))
    assert "systemctl enable --now shop.service on web1" in way and "old in place of shop-prod" in way
    assert "old in place of" in adopting.way_back(shape(), there("retired", "moving")), "it may be led already"
    assert "port:" not in way
    ours = host("web1", [NEW], current=NEW, adoption={"units": [unit("retired")], "front": None})
    taken = Facts({**there("retired", "moved").hosts, "web1": ours})
    assert "for ours has port 8000 now" in adopting.way_back(shape(), taken)
