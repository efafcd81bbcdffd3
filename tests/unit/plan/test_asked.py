"""Whether releases are asked for their health alike: where not, no balancer's check may judge them by the new way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.facts import facts, host
from support.topologies import topology

from deployer.plan.facts import Facts

OLD, NEW = "20240101T000000Z-0ld00000", "20240601T000000Z-new00000"
ASKED = topology(1).asked


@pytest.mark.parametrize("changed", [{"health": {"headers": {"X": "1"}}}, {"domains": ["b.c"]}])
def test_another_question_is_another_word(changed: dict[str, Any]) -> None:
    assert topology(1, **changed).asked != ASKED


@pytest.mark.parametrize("changed", [{"health_path": "/up"}, {"health_status": 204}])
def test_what_the_code_tells_counts_too(changed: dict[str, Any]) -> None:
    assert replace(topology(1), **changed).asked != ASKED


@pytest.mark.parametrize("changed", [{"port": 9000}, {"health": {"within": "1s"}}, {"instances": 3}])
def test_what_is_not_asked_does_not_count(changed: dict[str, Any]) -> None:
    assert topology(1, **changed).asked == ASKED


def linked(slots: dict[str, str], **asked: str) -> Facts:
    """One host with these slots in use, whatever ports the settings have now."""
    found = host("web1", [OLD, NEW], current=OLD, serving=[])
    known = [{**each, "asked": asked.get(each["id"][-8:])} for each in found.raw["releases"]]
    return facts(replace(found, raw={**found.raw, "slots": slots, "releases": known}))


def test_every_slot_in_use_counts_and_nothing_else() -> None:
    assert linked({"7000": OLD}, **{"0ld00000": "a", "new00000": "b"}).asked() == {"a"}
    assert linked({"7000": OLD, "7500": NEW}, **{"0ld00000": "a", "new00000": "b"}).asked() == {"a", "b"}
    assert linked({}).asked() == set()


def test_a_release_of_before_there_was_a_record_is_not_known() -> None:
    assert linked({"7000": OLD}).asked() == {""}
    assert linked({"7000": "20230101T000000Z-gone0000"}).asked() == {""}
