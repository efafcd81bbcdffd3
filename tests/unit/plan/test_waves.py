"""How a fleet is cut into waves."""

from __future__ import annotations

import pytest

from deployer.plan.rolling.waves import ordered, size_of, split

HOSTS = tuple(f"web{number}" for number in range(1, 11))


@pytest.mark.parametrize(
    ("sizes", "at_most", "expected"),
    [
        ((1, "25%"), "25%", [1, 2, 2, 2, 2, 1]),
        ((1,), "100%", [1] * 10),
        (("50%",), "100%", [5, 5]),
        ((3, 4), 10, [3, 4, 3]),
        (("100%",), 2, [2, 2, 2, 2, 2]),
        (("1%",), "1%", [1] * 10),
    ],
)
def test_ten_hosts_are_cut_as_the_settings_say(
    sizes: tuple[int | str, ...], at_most: int | str, expected: list[int]
) -> None:
    waves = split(HOSTS, sizes, at_most)
    assert [len(wave) for wave in waves] == expected
    assert tuple(host for wave in waves for host in wave) == HOSTS


def test_three_hosts_change_one_by_one_with_the_defaults() -> None:
    assert [len(wave) for wave in split(HOSTS[:3], (1, "25%"), "25%")] == [1, 1, 1]


def test_no_host_makes_no_wave() -> None:
    assert split((), (1,), 1) == ()


def test_a_percentage_is_rounded_down_but_is_at_least_one() -> None:
    assert [size_of("25%", total) for total in (1, 3, 4, 7, 8)] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("inventory", ["b", "c", "a"]), ("reverse", ["a", "c", "b"]), ("sorted", ["a", "b", "c"])],
)
def test_the_order_is_the_one_asked_for(order: str, expected: list[str]) -> None:
    names = ["b", "c", "a"]
    assert list(ordered(names, order, key=names)) == expected


def test_a_random_order_is_the_same_for_the_same_release() -> None:
    first = ordered(HOSTS, "random", key=HOSTS, seed="one")
    assert first == ordered(HOSTS, "random", key=HOSTS, seed="one")
    assert sorted(first) == sorted(HOSTS)
    assert first != ordered(HOSTS, "random", key=HOSTS, seed="another")


def test_percentages_are_of_the_whole_pool_also_when_only_some_change() -> None:
    assert [len(wave) for wave in split(HOSTS[:8], (1, "50%"), "50%", of=16)] == [1, 7]
    assert [len(wave) for wave in split(HOSTS[:4], ("50%",), "25%", of=8)] == [2, 2]


@pytest.mark.parametrize("at_most", [0, "0%", 1, "1%"])
def test_a_rollout_goes_on_where_nothing_may_be_unavailable(at_most: int | str) -> None:
    assert [len(wave) for wave in split(HOSTS, ("100%",), at_most)] == [1] * 10
