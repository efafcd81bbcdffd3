"""Exact versions come from the hosts' current releases, and the plan says how old they are."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from support.facts import facts, host, release
from support.topologies import topology

from deployer.agent.model.messages.releases import MARKER
from deployer.agent.model.typed import Operation
from deployer.rollout.delivery.kept_versions import age_of_versions, kept_versions

JANUARY, JUNE = "20240101T000000Z-aaaaaaaa", "20240601T000000Z-bbbbbbbb"


def run_with(markers: dict[str, dict[str, Any]]) -> Any:
    def run_on_hosts(hosts: list[str], operation: Operation[Any, Any], args: Any, step: str) -> dict[str, Any]:
        assert operation is MARKER
        return {name: {"marker": markers.get(args(name)["release"])} for name in hosts}

    return SimpleNamespace(topology=topology(2), run_on_hosts=run_on_hosts, site=lambda host: {})


def test_each_hosts_current_release_answers_its_own_question() -> None:
    markers = {
        JANUARY: {"requirements": ["a==1\n"], "resolution": {"digest": "d1", "at": 100}},
        JUNE: {"requirements": ["locked==1\n", "a==2\n"], "resolution": {"digest": "d2", "at": 200}},
    }
    found = facts(host("web1", [JANUARY, JUNE], current=JANUARY), host("web2", [JUNE], current=JUNE))
    kept = kept_versions(run_with(markers), found, anew=False)
    assert {digest: (answer.text, answer.at) for digest, answer in kept.answers.items()} == {
        "d1": ("a==1\n", 100),
        "d2": ("a==2\n", 200),
    }
    assert kept_versions(run_with(markers), found, anew=True).find("d1") is None


def test_a_release_of_an_earlier_deploy_or_with_locked_versions_answers_nothing() -> None:
    markers: dict[str, dict[str, Any]] = {
        JANUARY: {"requirements": ["a==1\n"]},
        JUNE: {"requirements": ["a==1\n"], "resolution": None},
    }
    found = facts(host("web1", [JANUARY], current=JANUARY), host("web2", [JUNE], current=JUNE))
    assert kept_versions(run_with(markers), found, anew=False).answers == {}


def test_the_plan_says_how_old_the_versions_are_and_what_renews_them() -> None:
    three_days = int(time.time()) - 3 * 86400 - 60
    current = release(JUNE, resolution={"digest": "d", "at": three_days})
    run = run_with({})
    [item] = age_of_versions(run, facts(host("web1", [current], current=JUNE), host("web2", [current], current=JUNE)))
    assert item.value.endswith("3 days ago") and JUNE in item.why and "deploy push prod --upgrade" in item.why
    assert age_of_versions(run, facts(host("web1", [JUNE], current=JUNE), host("web2"))) == []
