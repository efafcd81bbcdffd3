"""What commands that look answer as data: described by schemas, which lie in docs/reference."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from support.facts import facts, host, release
from support.topologies import topology

from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.rollout.answers import ANSWERS, answer_schema
from deployer.rollout.queries.hosts import hosts_of
from deployer.rollout.queries.plan import PlanAnswer
from deployer.rollout.queries.releases import releases_of

VERSION = tuple(int(part) for part in version("pydantic").split(".")[:2])
REFERENCE = Path(__file__).parents[3] / "docs/reference"
OLD, NEW = "20240101T000000Z-aaaaaaaa", "20240601T000000Z-bbbbbbbb"


@pytest.mark.skipif(VERSION < (2, 12), reason="earlier versions of pydantic write the same schemas in other words")
@pytest.mark.parametrize("command", ANSWERS)
def test_the_reference_has_the_schema_of_each_answer(command: str) -> None:
    told = json.loads((REFERENCE / f"{command}.schema.json").read_text())
    assert told == answer_schema(command), "make reference writes it anew"


@pytest.mark.parametrize("command", ANSWERS)
def test_every_field_is_described(command: str) -> None:
    """But for those of the plan, whose classes describe them."""
    schema = answer_schema(command)
    models = [schema, *(each for name, each in schema.get("$defs", {}).items() if command != "plan")]
    lacking = [
        f"{each['title']}.{name}"
        for each in models
        for name, field in each["properties"].items()
        if not field.get("description")
    ]
    assert lacking == []


def test_the_releases_say_which_of_them_a_rollback_can_go_to() -> None:
    shape = topology(2, 1)
    answer = releases_of(shape, facts(*(host(f"web{n}", [OLD, NEW], current=NEW) for n in (1, 2))))
    old, new = answer.releases
    assert (old.id, old.target, old.current, new.current, new.target) == (OLD, True, False, True, False)
    assert old.hosts == ["web1", "web2"] and "can be rolled back to" in old.text and "current" in new.text


def test_a_withdrawn_release_is_not_said_to_be_what_a_rollback_goes_to() -> None:
    shape = topology(1, 1)
    found = host("web1", [OLD, release(NEW, withdrawn=True)], current=OLD)
    new = releases_of(shape, facts(found)).releases[1]
    assert new.withdrawn and new.target
    assert "withdrawn: a rollback takes it only by its id" in new.text and "can be rolled back to" not in new.text


def test_the_hosts_and_the_plan_are_data() -> None:
    shape = topology(2, 1)
    hosts = hosts_of(shape)
    assert [(each.host, each.part) for each in hosts.hosts] == [("lb1", "balancer"), ("web1", "web"), ("web2", "web")]
    plan = make_plan(DesiredRelease("push", NEW), shape, facts(*(host(f"web{n}", [OLD], current=OLD) for n in (1, 2))))
    answer = PlanAnswer(changes=not plan.empty, digest=plan.digest, plan=plan).model_dump(mode="json")
    assert answer["plan"]["release"] == NEW and answer["changes"]
    assert answer["plan"]["waves"][0][0]["host"] == "web1"
