"""Whether releases are asked for their health alike: where not, no balancer's check may judge them by the new way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.facts import facts, host, release
from support.topologies import topology

from deployer.plan.facts import Facts

OLD, NEW = "20240101T000000Z-0ld00000", "20240601T000000Z-new00000"
ASKED = topology(1).health_check_digest


@pytest.mark.parametrize("changed", [{"health": {"headers": {"X": "1"}}}, {"domains": ["b.c"]}])
def test_another_question_is_another_word(changed: dict[str, Any]) -> None:
    assert topology(1, **changed).health_check_digest != ASKED


@pytest.mark.parametrize("changed", [{"health_path": "/up"}, {"health_status": 204}])
def test_what_the_code_tells_counts_too(changed: dict[str, Any]) -> None:
    assert replace(topology(1), **changed).health_check_digest != ASKED


@pytest.mark.parametrize("changed", [{"port": 9000}, {"health": {"within": "1s"}}, {"instances": 3}])
def test_what_is_not_asked_does_not_count(changed: dict[str, Any]) -> None:
    assert topology(1, **changed).health_check_digest == ASKED


def linked(slots: dict[str, str], **asked: str) -> Facts:
    """One host with these slots in use, whatever ports the settings have now."""
    folders = [release(id, asked=asked.get(id[-8:])) for id in (OLD, NEW)]
    return facts(host("web1", folders, current=OLD, serving=[], slots=slots))


def test_every_slot_in_use_counts_and_nothing_else() -> None:
    assert linked({"7000": OLD}, **{"0ld00000": "a", "new00000": "b"}).health_check_digests() == {"a"}
    assert linked({"7000": OLD, "7500": NEW}, **{"0ld00000": "a", "new00000": "b"}).health_check_digests() == {"a", "b"}
    assert linked({}).health_check_digests() == set()


def test_a_release_of_before_there_was_a_record_is_not_known() -> None:
    assert linked({"7000": OLD}).health_check_digests() == {""}
    assert linked({"7000": "20230101T000000Z-gone0000"}).health_check_digests() == {""}


def test_a_release_is_checked_by_its_own_request() -> None:
    today = topology(1, domains=["b.example.com"], health={"headers": {"X-Key": "b"}})
    built = topology(1, domains=["a.example.com"], health={"headers": {"X-Key": "a"}, "within": "60s"})
    release = host("web1", [OLD], current=OLD, serving=[]).releases[0]
    release = replace(release, health_check_digest=built.health_check_digest, health=built.health().record())
    assert today.asking(release).health() == built.health()
    assert today.asking(release).health_check_digest == built.health_check_digest
    assert today.asking(None).health() == today.health()


def test_the_request_is_part_of_what_a_release_is() -> None:
    plain = topology(1).health_request
    assert plain != topology(1, health={"headers": {"X-Key": "a"}}).health_request
    assert plain != topology(1, domains=["a.example.com"]).health_request
    assert plain == topology(1, health={"within": "60s"}).health_request


def test_users_that_come_by_tls_are_told_of_in_the_request() -> None:
    assert topology(1, tls="auto").health().sent_headers == {"X-Forwarded-Proto": "https"}
    assert topology(1, tls="off").health().sent_headers == {}


def test_balancers_accept_what_each_release_may_answer_while_they_differ() -> None:
    known = linked({"8000": OLD}, **{"0ld00000": "another"})
    assert topology(1).beside_serving(known).relaxed_health_check
    same = linked({"8000": OLD}, **{"0ld00000": ASKED})
    assert not topology(1).beside_serving(same).relaxed_health_check
    target = replace(known["web1"].releases[1], health_check_digest="another")
    assert topology(1).beside_serving(same, target).relaxed_health_check


def test_a_watchdog_waits_for_the_slowest_start_that_a_way_back_may_take() -> None:
    slow = [release(id, health={"within": 300.0}) for id in (OLD, NEW)]
    facts_ = facts(host("web1", slow, current=OLD, serving=[], slots={"8000": OLD}))
    quick = topology(1)
    assert quick.beside_serving(facts_).longest_switch >= quick.longest_switch + 300.0 - quick.health().within_again
