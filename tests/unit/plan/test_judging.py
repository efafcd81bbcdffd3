"""Whether new instances are worse than the old: the verdict holds for chance, for few requests, and for wild times."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from support.topologies import topology

from deployer.plan.rolling.judging import RequestStats, describe_judging, enough, more_fail, wilson, worse
from deployer.settings.models import Judge, Rolling

TIMES = Judge(slower="3x")


def drawn(count: int, share: float, took: Callable[[], float], dice: random.Random) -> RequestStats:
    """Figures of `count` requests of which each fails with the chance `share`."""
    failed = sum(dice.random() < share for _ in range(count))
    return RequestStats(count, failed, 0, Counter(round(took()) for _ in range(count - failed)))


def verdicts(
    tries: int, new: tuple[int, float, float], old: tuple[int, float, float], margins: Judge, seed: int
) -> list[str]:
    """`worse` for many draws; a side is (requests, share that fails, factor of its times, which have a long tail)."""
    dice = random.Random(seed)

    def draw(count: int, share: float, factor: float) -> RequestStats:
        return drawn(count, share, lambda: factor * dice.lognormvariate(3, 1), dice)

    return [worse(draw(*new), draw(*old), margins) for _ in range(tries)]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("count", [50, 300])
def test_equals_are_hardly_ever_called_worse(share: float, count: int) -> None:
    strict = Judge(errors="0%", slower="1x")
    wrong = [why for why in verdicts(200, (count, share, 1), (2 * count, share, 1), strict, seed=count) if why]
    assert len(wrong) <= 4, "more than 2 % with no margin at all, where ALPHA is 0.5 % for each of failures and times"
    usual = [why for why in verdicts(200, (count, share, 1), (2 * count, share, 1), TIMES, seed=count) if why]
    assert len(usual) <= (2 if share == 0.3 else 0), usual


def test_what_is_much_worse_is_found_and_what_is_a_little_worse_is_let_be() -> None:
    assert sum(map(bool, verdicts(50, (400, 0.05, 1), (800, 0.0, 1), Judge(), seed=1))) >= 48
    assert sum(map(bool, verdicts(50, (60, 0.3, 1), (120, 0.0, 1), Judge(), seed=2))) >= 48
    assert sum(map(bool, verdicts(50, (250, 0.0, 6), (500, 0.0, 1), TIMES, seed=3))) >= 48
    assert not any(verdicts(50, (400, 0.005, 2), (800, 0.0, 1), TIMES, seed=4))


def test_too_few_requests_tell_nothing() -> None:
    all_fail, none = RequestStats(49, 49), RequestStats(1000)
    assert worse(all_fail, none, Judge()) == "" and not enough(all_fail, none, Judge())
    assert worse(RequestStats(50, 50), RequestStats(49), Judge()) == ""
    assert "100.0 % of its requests fail" in worse(RequestStats(50, 50), none, Judge())


def test_a_lost_request_counts_as_one_that_failed() -> None:
    assert (
        worse(RequestStats(100, 0, 20), RequestStats(100), Judge())
        == worse(RequestStats(100, 20, 0), RequestStats(100), Judge())
        != ""
    )


def test_more_of_the_same_makes_it_surer_and_fewer_comparisons_too() -> None:
    bounds = [more_fail(RequestStats(n, n // 20), RequestStats(2 * n, n // 100), 2.6) for n in (100, 200, 400, 800)]
    assert bounds == sorted(bounds) and bounds[-1] < 0.05 - 0.005
    assert worse(RequestStats(60, 9), RequestStats(120), Judge()) and not worse(
        RequestStats(60, 9), RequestStats(120), Judge(), comparisons=10**6
    )


def test_one_request_that_hangs_is_no_slow_release() -> None:
    quick = {5: 100}
    assert worse(RequestStats(101, times={**quick, 60000: 1}), RequestStats(200, times={5: 200}), TIMES) == ""
    assert worse(RequestStats(100, times={60: 100}), RequestStats(200, times={5: 200}), TIMES)
    assert worse(RequestStats(100, times={9: 100}), RequestStats(200, times={1: 200}), TIMES) == "", (
        "nobody notices 8 ms"
    )
    assert worse(RequestStats(100, times={500: 100}), RequestStats(200, times={5: 200}), Judge()) == "", (
        "times are asked for"
    )


def test_who_is_slow_is_asked_less_and_still_seen() -> None:
    """Balancers send requests where the fewest are under way."""
    others = RequestStats(600, times={5: 600})
    assert worse(RequestStats(24, times={300: 24}), others, TIMES).startswith("half of its answers take up to 300 ms")
    assert worse(RequestStats(8, times={300: 8}), others, TIMES) == ""
    assert worse(RequestStats(24, times={300: 24}), RequestStats(40, times={5: 40}), TIMES) == ""


def test_a_slow_part_of_the_site_is_seen_behind_a_quick_one() -> None:
    slow = RequestStats(600, times={5: 480, 900: 120})
    assert worse(slow, RequestStats(1200, times={5: 960, 50: 240}), TIMES).startswith(
        "90% of its answers take up to 900 ms"
    )


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (0, 50), (3, 50), (50, 50)])
def test_a_share_lies_within_its_bounds(count: int, of: int) -> None:
    low, high = wilson(count, of, 2.6)
    assert 0 <= low < high <= 1 and low - 1e-9 <= count / of <= high + 1e-9


def test_sums_are_those_of_all_requests() -> None:
    both = RequestStats(3, 1, 0, {5: 2}) + RequestStats(2, 0, 1, {5: 1})
    assert both == RequestStats(5, 1, 1, {5: 3}) and both.bad == 2
    assert RequestStats().at(0.5) is None and RequestStats(4, times={1: 2, 9: 2}).at(0.9) == 9


def test_a_plan_says_how_and_why_not() -> None:
    assert "1% more failures" in describe_judging(topology()) and "haproxy" in describe_judging(topology())
    assert describe_judging(topology(balancers=0)) == ""
    assert "as rolling.judge is set" in describe_judging(topology(rolling={"judge": False}))
    assert "that it does not configure" in describe_judging(topology(balancer={"manage": False}))


@pytest.mark.parametrize("value", [{"errors": "1"}, {"errors": "100%"}, {"slower": "0.5x"}, {"slower": 2}, "on"])
def test_margins_that_are_none_are_refused(value: object) -> None:
    with pytest.raises(ValueError):
        Rolling.model_validate({"judge": value})
