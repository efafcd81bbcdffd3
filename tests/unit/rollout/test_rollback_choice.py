"""Where `deploy rollback` goes, and what it says when there is nowhere to go."""

from __future__ import annotations

import pytest
from support.facts import Release, facts, host, release
from support.topologies import topology

from deployer.errors import UsageError
from deployer.plan.changes import prevailing_release
from deployer.plan.facts import Facts
from deployer.rollout.commands.rollback import candidates, choose_release

FIRST, SECOND, THIRD = "20240101T000000Z-aaaaaaaa", "20240201T000000Z-bbbbbbbb", "20240301T000000Z-cccccccc"
ALL = (FIRST, SECOND, THIRD)


def goes_to(found: Facts, wanted: str | None = None) -> str:
    shape = topology(len(found.hosts), 0)
    return choose_release(shape, found, wanted, prevailing_release(found, shape))


def both(*releases: str | Release, current: str = THIRD) -> Facts:
    return facts(*(host(name, releases, current=current) for name in ("web1", "web2")))


def test_back_is_the_newest_proven_release_before_the_current_one() -> None:
    assert goes_to(both(*ALL)) == SECOND


def test_again_goes_further_back() -> None:
    after = both(FIRST, SECOND, release(THIRD, withdrawn=True), current=SECOND)
    assert goes_to(after) == FIRST


def test_a_withdrawn_release_is_passed_over() -> None:
    assert goes_to(both(FIRST, release(SECOND, withdrawn=True), THIRD)) == FIRST


def test_a_release_that_was_never_proven_is_passed_over() -> None:
    assert goes_to(both(FIRST, release(SECOND, proven=False), THIRD)) == FIRST


def test_proven_on_one_host_is_enough() -> None:
    found = facts(
        host("web1", [FIRST, release(SECOND, proven=False), THIRD], current=THIRD),
        host("web2", ALL, current=THIRD),
    )
    assert goes_to(found) == SECOND


@pytest.mark.parametrize("lacking", [[FIRST, THIRD], [FIRST, release(SECOND, complete=False), THIRD]])
def test_a_release_that_one_host_lacks_is_passed_over(lacking: list[str | Release]) -> None:
    found = facts(host("web1", ALL, current=THIRD), host("web2", lacking, current=THIRD))
    assert goes_to(found) == FIRST
    assert [each.id for each in candidates(topology(2), found)] == [FIRST, THIRD]


def test_after_a_push_that_died_half_way_back_is_before_that_push() -> None:
    """`current` did not move yet: going before *it* would go back twice."""
    half: list[str | Release] = [FIRST, SECOND, release(THIRD, proven=False)]
    found = facts(
        host("web1", half, current=SECOND, serving=[THIRD]), host("web2", half, current=SECOND, serving=[SECOND])
    )
    assert goes_to(found) == SECOND


def test_after_a_rollback_that_died_half_way_it_is_the_same_rollback() -> None:
    found = facts(host("web1", ALL, current=THIRD, serving=[SECOND]), host("web2", ALL, current=THIRD))
    assert goes_to(found) == SECOND


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(FIRST, FIRST), ("current", THIRD), ("0123456", SECOND), ("fedcba", THIRD), (THIRD, THIRD)],
)
def test_a_release_may_be_named_by_id_or_commit(wanted: str, expected: str) -> None:
    found = both(
        release(FIRST, commit="0123456789abcdef"),
        release(SECOND, commit="0123456789abcdef"),
        release(THIRD, commit="fedcba9876543210"),
    )
    assert goes_to(found, wanted) == expected


def test_a_withdrawn_release_may_still_be_named() -> None:
    assert goes_to(both(FIRST, release(SECOND, withdrawn=True), THIRD), SECOND) == SECOND


def test_the_beginning_of_several_commits_is_no_name() -> None:
    found = both(release(FIRST, commit="abc111"), release(SECOND, commit="abc222"), THIRD)
    with pytest.raises(UsageError, match="'abc' begins several commits") as caught:
        goes_to(found, "abc")
    assert FIRST in str(caught.value.hint) and SECOND in str(caught.value.hint)


def test_a_name_that_nothing_has_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match="no release 'v9'") as caught:
        goes_to(both(*ALL), "v9")
    assert caught.value.hint == f"there are: {', '.join(ALL)}"


def test_nothing_is_older() -> None:
    with pytest.raises(UsageError, match=f"no proven release exists before {FIRST}") as caught:
        goes_to(both(FIRST, SECOND, THIRD, current=FIRST))
    assert "deploy rollback prod RELEASE" in str(caught.value.hint)


def test_nothing_was_ever_pushed() -> None:
    with pytest.raises(UsageError, match="nothing was ever pushed"):
        goes_to(facts(host("web1"), host("web2")))
    with pytest.raises(UsageError, match="no release 'current'"):
        goes_to(facts(host("web1"), host("web2")), "current")


def test_before_the_first_release_another_tool_ran_it() -> None:
    unit = {"unit": "shop.service", "ports": [8000], "enabled": True, "state": "retired"}
    found = facts(host("web1", [FIRST], current=FIRST, adoption={"units": [unit], "front": None}))
    with pytest.raises(UsageError) as caught:
        goes_to(found)
    assert "systemctl enable --now shop.service on web1" in str(caught.value.hint)
