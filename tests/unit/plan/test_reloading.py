"""Where a reload in place would cost something, or not do what it should, the plan refuses it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.facts import facts, host, release
from support.topologies import topology

from deployer.errors import SettingsError
from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.facts import Facts
from deployer.plan.model import Plan
from deployer.plan.rolling.reloading import other_dependencies
from deployer.plan.topology import Topology

OLD, NOW = "20240101T000000Z-0ld00000", "20240301T000000Z-now00000"


def shape(served_by: str = "gunicorn", **settings: Any) -> Topology:
    return topology(2, 0, served_by=served_by, rolling={"strategy": "reload"}, **settings)


def found(**old: Any) -> Facts:
    """Two hosts that serve NOW and have OLD, which differs as said."""
    releases = [release(OLD, **{"venv": "k", **old}), release(NOW, venv="k")]
    return facts(*(host(f"web{n}", releases, current=NOW) for n in (1, 2)))


def refusal(wish: DesiredRelease, where: Topology, there: Facts, **more: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        make_plan(wish, where, there, **more)
    assert "rolling.strategy: reload" in caught.value.message and "--strategy restart" in (caught.value.hint or "")
    return caught.value


RELOAD = DesiredRelease("reload", NOW, restart=True)
ROLLBACK = DesiredRelease("rollback", OLD)


@pytest.mark.parametrize(
    ("server", "workers", "wish", "said"),
    [
        ("uvicorn", 1, RELOAD, "in one process dies"),
        ("uvicorn", 2, ROLLBACK, "only the release"),
        ("command", 2, RELOAD, "has no defined reaction"),
    ],
)
def test_a_server_that_cannot(server: str, workers: int, wish: DesiredRelease, said: str) -> None:
    assert said in refusal(wish, shape(server, runtime={"workers": workers}), found()).message


def test_other_dependencies() -> None:
    assert "dependencies" in refusal(ROLLBACK, shape(), found(venv="other")).message


def test_another_way_to_start() -> None:
    assert "starts with are new" in refusal(ROLLBACK, shape(), found(start_sha="other")).message
    wish = DesiredRelease(
        "push", "20240901T000000Z-new00000", ("web1", "web2"), starts={"web1": "start", "web2": "other"}
    )
    assert refusal(wish, shape(), found()).host == "web2"


def test_changed_secrets() -> None:
    assert "secrets changed" in refusal(RELOAD, shape(), found(), secrets_changed=["web1"]).message


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn+uvicorn", "gunicorn-asgi"])
def test_gunicorn_goes_to_another_release_and_back(server: str) -> None:
    assert [step.action for step in make_plan(ROLLBACK, shape(server), found()).steps] == ["reload", "reload"]
    wish = DesiredRelease(
        "push", "20240901T000000Z-new00000", ("web1", "web2"), starts={"web1": "start", "web2": "start"}
    )
    plan = make_plan(wish, shape(server), found())
    assert other_dependencies(plan, found(), {"web1": "k", "web2": "k"}) is None
    others = other_dependencies(plan, found(), {"web1": "k", "web2": "another"})
    assert others and others.refused("push").host == "web2"
    told = replace(wish, venvs={"web1": "k", "web2": "another"})
    assert refusal(told, shape(server), found()).host == "web2"


AUTO: dict[str, Any] = {"served_by": "gunicorn", "supervisor": "supervisord"}
PUSH = DesiredRelease("push", "20240901T000000Z-new00000", ("web1", "web2"), starts={"web1": "start", "web2": "start"})


def test_auto_reloads_under_supervisord_and_says_why_it_does_not() -> None:
    reloaded = make_plan(PUSH, topology(2, 0, **AUTO), found())
    assert (reloaded.strategy, {step.action for step in reloaded.steps}) == ("reload", {"reload"})
    assert not reloaded.warnings or "refused" not in " ".join(reloaded.warnings)
    cases: tuple[tuple[DesiredRelease, dict[str, Any], str], ...] = (
        (replace(PUSH, venvs={"web1": "k", "web2": "another"}), {}, "dependencies are others"),
        (replace(PUSH, starts={"web1": "start", "web2": "other"}), {}, "starts with are new"),
        (PUSH, {"secrets_changed": ["web1"]}, "secrets changed"),
    )
    for wish, more, because in cases:
        plan = make_plan(wish, topology(2, 0, **AUTO), found(), **more)
        assert (plan.strategy, {step.action for step in plan.steps}) == ("restart", {"restart"})
        assert because in plan.strategy_why
        assert any("requests are refused" in warning for warning in plan.warnings)


def test_one_that_does_not_serve_as_it_should_is_restarted() -> None:
    there = found()
    sick = host("web2", [release(OLD, venv="k"), release(NOW, venv="k")], current=NOW, unproven={0: "answers 500"})
    plan: Plan = make_plan(RELOAD, shape(), Facts({**there.hosts, "web2": sick}))
    assert [(step.host, step.action) for step in plan.steps] == [("web2", "restart"), ("web1", "reload")]


def test_where_nothing_serves_it_starts() -> None:
    there = facts(host("web1"), host("web2"))
    plan = make_plan(DesiredRelease("push", NOW, ("web1", "web2")), shape(), there)
    assert plan.strategy == "socket" and {step.action for step in plan.steps} == {"start"}
