"""Plans as data: a topology, facts and a wish in; the exact plan out, as JSON and as a person reads it.

`DEPLOY_GOLDEN=write pytest tests/unit/plan` writes the files anew; the diff is then for a person to judge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.facts import facts, host, release, server_state
from support.topologies import topology

from deployer.plan.changes import make_plan, wanted_by_push
from deployer.plan.draft import DesiredRelease, LaunchFiles, ReleaseCandidate
from deployer.plan.facts import Facts
from deployer.plan.model import FileChange, Inferred, Plan, PlanNotes
from deployer.plan.rendering import render_plan
from deployer.plan.topology import Topology

GOLDEN = Path(__file__).parent / "golden"
OLD, NOW = "20240101T000000Z-0ld00000", "20240301T000000Z-now00000"
START = LaunchFiles("#!/bin/sh\nexec serve\n", {"conf.py": "workers = 2\n"})


def pushed(
    shape: Topology,
    found: Facts,
    *,
    content: str = f"content of {NOW}",
    starts: Mapping[str, LaunchFiles] | None = None,
    secrets_changed: tuple[str, ...] = (),
    changes: Sequence[FileChange] = (),
    **notes: Any,
) -> Plan:
    """The plan of a push, made as the rollout makes it: which release, who builds it, what changes."""
    draft = ReleaseCandidate(content, {web.name: (starts or {}).get(web.name, START) for web in shape.web})
    wanted, builds = wanted_by_push(draft, shape, found)
    wish = DesiredRelease("push", wanted, builds, restart=bool(secrets_changed))
    return make_plan(wish, shape, found, changes=changes, secrets_changed=secrets_changed, notes=PlanNotes(**notes))


def has(id: str, **other: Any) -> dict[str, Any]:
    """A release that starts as START says."""
    return release(id, start_sha=START.sha, **other)


def settled(count: int = 3, **of_each: Any) -> Facts:
    """A fleet where all hosts have OLD and NOW, and serve NOW."""
    return facts(*(host(f"web{n}", [has(OLD), has(NOW)], current=NOW, **of_each) for n in range(1, count + 1)))


def first_push() -> Plan:
    changes = [FileChange("lb1", "file", "/etc/haproxy/deploy/50-shop-prod.cfg", "created", "+backend shop-prod\n")]
    return pushed(
        topology(),
        facts(*(host(f"web{n}") for n in (1, 2, 3))),
        changes=changes,
        inferred=[Inferred("runtime.app", "shop.main:app", "the only ASGI app in the code")],
        hooks={"release": "alembic upgrade head"},
        source="git main at 0123456789ab",
    )


def second_push_of_the_same() -> Plan:
    return pushed(topology(), settled(), hooks={"release": "alembic upgrade head"})


def new_code() -> Plan:
    return pushed(topology(), settled(), content="another", hooks={"release": "alembic upgrade head"})


def changed_secrets() -> Plan:
    return pushed(topology(), settled(), secrets_changed=("web1", "web2", "web3"))


def one_host_lacks_the_release() -> Plan:
    found = facts(
        host("web1", [has(OLD), has(NOW)], current=NOW),
        host("web2", [has(OLD), has(NOW, complete=False)], current=OLD),
        host("web3", [has(OLD), has(NOW)], current=NOW),
    )
    return pushed(topology(), found)


def a_half_rolled_fleet() -> Plan:
    """The controller died in the second of three waves; web2 was killed between its stop and its start."""
    both = [has(OLD), has(NOW, proven=False)]
    found = facts(
        host("web1", both, current=OLD, serving=[NOW]),
        host("web2", both, current=OLD, serving=[None]),
        host("web3", both, current=OLD, serving=[OLD]),
    )
    return pushed(topology(), found)


def all_serve_it_but_it_is_not_current() -> Plan:
    """The controller died after the last wave, before `current` moved."""
    both = [has(OLD), has(NOW, proven=False)]
    return pushed(topology(), facts(*(host(f"web{n}", both, current=OLD, serving=[NOW]) for n in (1, 2, 3))))


def one_instance_does_not_answer() -> Plan:
    found = settled()
    sick = host("web2", [has(OLD), has(NOW)], current=NOW, unproven={0: "health check: 500"})
    return pushed(topology(), Facts({**found.hosts, "web2": sick}))


def one_host_starts_in_another_way() -> Plan:
    """web2 has more cores than it had: what it would build now is not what it has."""
    return pushed(topology(), settled(), starts={"web2": replace(START, files={"conf.py": "workers = 9\n"})})


def ten_hosts() -> Plan:
    return pushed(topology(10, rolling={"waves": [1, "25%"]}), settled(10), content="another")


def two_instances_a_host() -> Plan:
    shape = topology(instances=2, rolling={"waves": [1, "50%"], "max_unavailable": 2, "order": "reverse"})
    return pushed(shape, settled(serving=[NOW, NOW]), content="another")


def no_balancer() -> Plan:
    return pushed(topology(2, 0, domains=[]), settled(2), content="another")


def no_balancer_and_the_ports_are_held() -> Plan:
    return pushed(topology(2, 0, domains=[]), settled(2, held=[8000]), content="another")


def second_push_of_the_same_on_held_ports() -> Plan:
    return pushed(topology(2, 0, domains=[]), settled(2, held=[8000]))


def the_strategy_alone_is_new() -> Plan:
    """The balancer has gone: what serves is right, and its port has to be held from now on."""
    return pushed(topology(2, 0, domains=[]), settled(2))


def no_balancer_gunicorn() -> Plan:
    return pushed(topology(2, 0, domains=[], served_by="gunicorn"), settled(2, held=[8000]), content="another")


def no_balancer_supervisord() -> Plan:
    return pushed(topology(2, 0, domains=[], supervisor="supervisord"), settled(2), content="another")


def no_balancer_for_a_domain() -> Plan:
    return pushed(topology(2, 0), settled(2), content="another", warnings=["the app says nothing of its health"])


def one_instance() -> Plan:
    return pushed(topology(1), settled(1), content="another")


def bluegreen_from_first_to_other_slots() -> Plan:
    return pushed(topology(rolling={"strategy": "bluegreen"}), settled(), content="another")


def a_half_done_bluegreen_fleet() -> Plan:
    """The controller died: web1 has both, web2's successor is proven and was not admitted, web3 is as it was."""
    both = [has(OLD), has(NOW, proven=False)]
    found = facts(
        host("web1", both, current=OLD, serving=[NOW], beside={0: (8500, OLD)}),
        host("web2", both, current=OLD, serving=[OLD], beside={0: (8500, NOW)}),
        host("web3", both, current=OLD, serving=[OLD]),
    )
    return pushed(topology(rolling={"strategy": "bluegreen"}), found)


def a_person_holds_what_may_be_missing() -> Plan:
    """One of three is out for as long as a person says, so no other may stop: the strategy changes."""
    found = settled()
    held = {"web2-8000": server_state("DRAIN", held={"by": "person", "reason": "disk"})}
    return pushed(topology(), Facts(found.hosts, {"lb1": held}), content="another")


def reload_all_at_once() -> Plan:
    wish = DesiredRelease("reload", NOW, restart=True, why="a reload was requested", all_at_once=True)
    return make_plan(wish, topology(), settled())


def reload_in_place() -> Plan:
    wish = DesiredRelease("reload", NOW, restart=True, why="a reload was requested")
    return make_plan(wish, topology(served_by="gunicorn+uvicorn", rolling={"strategy": "reload"}), settled())


def reload_in_place_without_a_balancer() -> Plan:
    wish = DesiredRelease("reload", NOW, restart=True, why="a reload was requested")
    shape = topology(1, 0, domains=[], rolling={"strategy": "reload"}, runtime={"workers": 2})
    return make_plan(wish, shape, settled(1, held=[8000]))


def rollback_in_place() -> Plan:
    return make_plan(
        DesiredRelease("rollback", OLD), topology(served_by="gunicorn", rolling={"strategy": "reload"}), settled()
    )


def rollback() -> Plan:
    return make_plan(DesiredRelease("rollback", OLD, why=f"{NOW} is left"), topology(), settled())


CASES: dict[str, Callable[[], Plan]] = {
    case.__name__: case
    for case in (
        first_push,
        second_push_of_the_same,
        new_code,
        changed_secrets,
        one_host_lacks_the_release,
        a_half_rolled_fleet,
        all_serve_it_but_it_is_not_current,
        one_instance_does_not_answer,
        one_host_starts_in_another_way,
        ten_hosts,
        two_instances_a_host,
        no_balancer,
        no_balancer_and_the_ports_are_held,
        second_push_of_the_same_on_held_ports,
        the_strategy_alone_is_new,
        no_balancer_gunicorn,
        no_balancer_supervisord,
        no_balancer_for_a_domain,
        one_instance,
        bluegreen_from_first_to_other_slots,
        a_half_done_bluegreen_fleet,
        a_person_holds_what_may_be_missing,
        reload_all_at_once,
        reload_in_place,
        reload_in_place_without_a_balancer,
        rollback_in_place,
        rollback,
    )
}


def shown(plan: Plan) -> str:
    """The plan as its golden has it: the text, then the data. A new id is `NEW`, since it tells the time."""
    data = plan.as_dict()
    del data["digest"]
    text = f"{render_plan(plan, diffs=True)}\n\n{json.dumps(data, indent=1)}\n"
    return text if plan.release in (OLD, NOW) else text.replace(plan.release, "NEW")


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is_as_it_was(name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    made = shown(CASES[name]())
    if os.environ.get("DEPLOY_GOLDEN") == "write":
        path.write_text(made)
    assert made == path.read_text()


def test_there_is_no_golden_without_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_every_instance_is_changed_once_or_kept(name: str) -> None:
    plan = CASES[name]()
    named = [step.name for step in (*plan.steps, *plan.kept)]
    assert len(named) == len(set(named))
    assert all(step.action == "keep" for step in plan.kept) and all(step.action != "keep" for step in plan.steps)


def test_only_the_second_push_of_the_same_is_empty() -> None:
    empty = [name for name, case in CASES.items() if case().empty]
    assert empty == ["second_push_of_the_same", "second_push_of_the_same_on_held_ports"]


def test_a_digest_tells_plans_apart_and_is_the_same_for_the_same() -> None:
    digests = [CASES[name]().digest for name in ("rollback", "rollback", "reload_all_at_once", "changed_secrets")]
    assert digests[0] == digests[1] and len(set(digests)) == 3
