"""How much of a log is asked for: so many lines, or what was written within a time, where the log tells."""

from __future__ import annotations

import pytest

from deployer.agent.operation import OpError
from deployer.agent.supervision import Health, Instance, Verbs
from deployer.agent.unit import Unit, asked_for

SAYS = ("sh", "-c", 'for each in 1 2 3; do echo "$each $0"; done')


def unit(**more: tuple[str, ...]) -> Unit:
    verbs = Verbs(unit="shop@8000.service", start=(), stop=(), pid=(), log=(*SAYS, "of {lines}"), **more)
    return Unit(Instance(0, 8000, "127.0.0.1", verbs, Health(), graceful=1.0))


def test_the_last_lines() -> None:
    assert unit().log(2) == ["2 of 2", "3 of 2"]


def test_what_was_written_within_a_time() -> None:
    assert unit(log_within=(*SAYS, "of {lines} since -{seconds}s")).log(1, 90) == ["3 of 1 since -90s"]


def test_a_log_without_times_says_so_instead_of_telling_all() -> None:
    with pytest.raises(OpError, match=r"shop@8000\.service does not tell when") as caught:
        unit().log(50, 60)
    assert caught.value.code == "no_times" and "-n" in (caught.value.hint or "")


@pytest.mark.parametrize(("args", "asked"), [({}, (50, 0)), ({"lines": 7, "seconds": 60}, (7, 60))])
def test_fifty_lines_however_old_unless_it_is_said(args: dict[str, int], asked: tuple[int, int]) -> None:
    assert asked_for(args) == asked
