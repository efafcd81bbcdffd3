"""Which schedules change in a plan, in which order, and what a host is told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from support.facts import facts, host
from support.topologies import topology

from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.model import Plan
from deployer.plan.rendering import render_plan
from deployer.plan.start import start, way
from deployer.plan.topology import Topology
from deployer.settings.inference.infer import infer
from deployer.settings.workers import Size

OLD, NEW = "20240101T000000Z-0ld00000", "20240301T000000Z-new00000"
NIGHTLY = {"command": "python -m shop.nightly --day=$DAY", "cron": "0 3 * * *"}


def shape(**schedules: Any) -> Topology:
    """Two web hosts with the schedules; `on` of one are its hosts, web1 by default."""
    hosts = {name: tuple(each.pop("on", ("web1",))) for name, each in schedules.items()}
    return replace(topology(2, schedules=schedules), schedule_hosts=hosts)


def there(release: str | None, *names: str, why: str = "") -> dict[str, Any]:
    """What a survey says of a host's schedules."""
    times = {"next": 1, "began": None, "ended": None, "result": None}
    return {name: {"release": release, "why": why, "pid": None, **times} for name in names}


def planned(made: Topology, web1: dict[str, Any], web2: dict[str, Any], current: str = OLD) -> Plan:
    found = facts(
        host("web1", [OLD, NEW], current=current, schedule_state=web1),
        host("web2", [OLD, NEW], current=current, schedule_state=web2),
    )
    return make_plan(DesiredRelease("push", NEW), made, found)


def words(plan: Plan) -> list[str]:
    return [f"{step.action} {step.name}" for step in plan.schedules]


def test_what_leaves_a_host_comes_before_what_starts() -> None:
    made = shape(nightly={**NIGHTLY, "on": ["web2"]}, hourly={**NIGHTLY, "singleton": False, "on": ["web1", "web2"]})
    plan = planned(made, there(OLD, "nightly", "hourly", "weekly"), {})
    assert words(plan) == [
        "stop web1:nightly", "stop web1:weekly",
        "start web2:nightly", "move web1:hourly", "start web2:hourly",
    ]  # fmt: skip


def test_a_run_under_way_where_it_is_off_already_is_waited_for_before_it_starts_elsewhere() -> None:
    made = shape(nightly={**NIGHTLY, "on": ["web2"]})
    left = {**there(None, "nightly")["nightly"], "why": "it was never started here", "pid": 4711}
    left = {"nightly": left}
    assert words(planned(made, left, {})) == ["stop web1:nightly", "start web2:nightly"]
    assert words(planned(made, {"nightly": {**left["nightly"], "pid": None}}, {})) == ["start web2:nightly"]


def test_one_that_is_in_order_stays_and_one_that_nothing_starts_is_taken_up() -> None:
    made = shape(nightly=dict(NIGHTLY))
    assert words(planned(made, there(NEW, "nightly"), {}, current=NEW)) == []
    plan = planned(made, there(NEW, "nightly", why="shop-nightly.timer is inactive"), {}, current=NEW)
    assert words(plan) == ["move web1:nightly"] and not plan.waves and not plan.empty
    assert "move schedules, when the release is current: web1:nightly" in render_plan(plan)


def test_a_singleton_is_not_started_where_hosts_are_left_out_that_may_have_it() -> None:
    made = shape(nightly={**NIGHTLY, "on": ["web2"]}, hourly={**NIGHTLY, "singleton": False, "on": ["web2"]})
    web1, web2 = made.web
    for part in (replace(made, web=(web2,), spared=(web1,)), replace(made, web=(web2,), absent=(web1,))):
        plan = planned(part, {}, {})
        assert words(plan) == ["start web2:hourly"]
        assert any("nightly is not started on web2" in each for each in plan.warnings)
        assert words(planned(part, {}, there(OLD, "nightly"))) == ["move web2:nightly", "start web2:hourly"]


def test_a_host_is_told_of_its_own_schedules_alone_and_has_the_command_in_its_release(tmp_path: Path) -> None:
    made = shape(nightly={**NIGHTLY, "timezone": "Europe/Berlin", "timeout": "20m"})
    web1, web2 = made.web
    assert made.units(web2).schedules == ()
    (told,) = made.units(web1).schedules
    assert (told.name, told.zone, told.timeout, told.times.hours) == ("nightly", "Europe/Berlin", 1200.0, (3,))
    assert made.schedule(web1, "nightly").graceful == 1230.0
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\nuvicorn\n")
    files = start(made, web1, way(made, web1, infer(tmp_path, made.settings), Size(2, 2**31))).files
    assert files[".deploy-processes/nightly"] == "#!/bin/sh\nexec python -m shop.nightly --day=$DAY\n"
