"""Reading the source and connecting: no line of their own, and signs of life where they take long."""

from __future__ import annotations

import io

import pytest

from deployer.events import Bus, Event, StepRunning
from deployer.report.lines import UNREMARKED, line_of
from deployer.report.listeners import Plain
from deployer.report.signs import EVERY_S, SignsOfLife
from deployer.rollout.run.long_step import long_step


@pytest.mark.parametrize("step", UNREMARKED)
def test_only_its_signs_of_life_are_shown(step: str) -> None:
    out, bus, shown, now = io.StringIO(), Bus(), list[Event](), [0.0]
    signs = SignsOfLife(shown.append, lambda: now[0])
    bus.subscribe(Plain(out))
    bus.subscribe(signs)
    with long_step(bus, step):
        now[0] = EVERY_S
        signs.look()
    now[0] = 10 * EVERY_S
    signs.look()
    (sign,) = shown
    assert isinstance(sign, StepRunning) and line_of(sign) == f"… {step}, 10 s so far"
    assert out.getvalue() == ""


def test_a_failure_ends_it() -> None:
    bus, events = Bus(), list[Event]()
    bus.subscribe(events.append)
    with pytest.raises(ValueError, match="no"), long_step(bus, "connect"):
        raise ValueError("no")
    assert [event.name for event in events] == ["step.started", "step.finished"]
