"""Which processes change in a plan, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.facts import facts, host
from support.topologies import topology

from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.model import ProcessStep
from deployer.plan.rendering import render_plan
from deployer.plan.topology import Topology

OLD, NEW = "20240101T000000Z-0ld00000", "20240301T000000Z-new00000"
WORKER = {"command": "celery -A shop worker", "count": 2, "stop_timeout": "10m"}
BEAT = {"command": "celery -A shop beat", "singleton": True}


def shape(**processes: Any) -> Topology:
    """Two web hosts with the processes; `on` of a process are its hosts, both by default."""
    hosts = {name: tuple(each.pop("on", ("web1", "web2"))) for name, each in processes.items()}
    return replace(topology(2, processes=processes), process_hosts=hosts)


def there(release: str | None, *labels: str, running: bool = True) -> dict[str, Any]:
    """What a survey says of a host's processes."""
    return {label: {"release": release, "running": running, "why": "" if running else "down"} for label in labels}


def planned(topology: Topology, web1: dict[str, Any], web2: dict[str, Any], **wanted: Any) -> tuple[ProcessStep, ...]:
    found = facts(
        host("web1", [OLD, NEW], current=OLD, process_state=web1),
        host("web2", [OLD, NEW], current=OLD, process_state=web2),
    )
    return make_plan(DesiredRelease("push", wanted.pop("release", NEW), **wanted), topology, found).processes


def words(steps: tuple[ProcessStep, ...]) -> list[str]:
    return [f"{step.action} {step.name}" for step in steps]


def test_each_kind_moves_in_the_order_of_the_settings_host_by_host() -> None:
    made = shape(worker=dict(WORKER), beat={**BEAT, "on": ["web1"]})
    steps = planned(made, there(OLD, "worker@1", "beat@1"), {})
    assert words(steps) == [
        "restart web1:worker@1", "start web1:worker@2", "start web2:worker@1", "start web2:worker@2",
        "restart web1:beat@1",
    ]  # fmt: skip
    assert [step.before for step in steps] == [OLD, None, None, None, OLD]


def test_what_runs_the_release_stays_unless_it_is_to_restart_or_is_down() -> None:
    made = shape(worker={**WORKER, "count": 1})
    assert words(planned(made, there(NEW, "worker@1"), there(NEW, "worker@1"))) == []
    assert words(planned(made, there(NEW, "worker@1", running=False), there(NEW, "worker@1"))) == [
        "restart web1:worker@1"
    ]
    assert len(planned(made, there(NEW, "worker@1"), there(NEW, "worker@1"), restart=True)) == 2


def test_a_singleton_leaves_its_host_first_and_what_is_not_wanted_goes_last() -> None:
    made = shape(beat={**BEAT, "on": ["web2"]})
    steps = planned(made, there(OLD, "beat@1", "mailer@1"), {})
    assert words(steps) == ["stop web1:beat@1", "start web2:beat@1", "stop web1:mailer@1"]
    assert [step.first for step in steps] == [True, False, False]


def test_a_plan_that_only_changes_processes_is_not_empty_and_says_so() -> None:
    made = shape(worker={**WORKER, "count": 1})
    found = facts(
        host("web1", [OLD], current=OLD, process_state={}),
        host("web2", [OLD], current=OLD, process_state=there(OLD, "mailer@1")),
    )
    plan = make_plan(DesiredRelease("push", OLD), made, found)
    assert not plan.waves and not plan.empty
    assert "start processes before the instances: web1:worker@1, web2:worker@1" in render_plan(plan)
    assert "stop processes: web2:mailer@1" in render_plan(plan)


def test_a_host_is_told_of_its_own_processes_alone() -> None:
    made = shape(worker={**WORKER, "on": ["web2"]})
    web1, web2 = made.web
    assert made.units(web1).processes == ()
    (told,) = made.units(web2).processes
    assert (told.name, told.count, told.stop_timeout) == ("worker", 2, 600.0)
    process = made.process(web2, "worker", 2)
    assert process.verbs.unit == "shop-worker@2.service" and process.graceful == 600.0
