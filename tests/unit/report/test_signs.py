"""Steps that take long say so, and nothing waits for that."""

from __future__ import annotations

import io
import threading

from deployer import events
from deployer.report.listeners import JsonLines
from deployer.report.signs import SignsOfLife


class Steps:
    """Steps of a run on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.shown: list[tuple[str, tuple[str, ...], float]] = []
        self.signs = SignsOfLife(self._show, lambda: self.now)

    def _show(self, event: events.Event) -> None:
        assert isinstance(event, events.StepRunning)
        self.shown.append((event.step, event.places, event.elapsed_s))

    def at(self, now: float) -> list[tuple[str, tuple[str, ...], float]]:
        """What is shown at that moment."""
        self.now, self.shown = now, []
        self.signs.look()
        return self.shown


def test_a_step_that_takes_long_says_that_it_runs_and_then_every_ten_seconds() -> None:
    steps = Steps()
    for host in ("web1", "web2"):
        steps.signs(events.StepStarted("build", host=host))
    assert steps.at(2.0) == []
    assert steps.at(3.0) == [("build", ("web1", "web2"), 3.0)]
    assert steps.at(9.0) == []
    steps.signs(events.StepFinished("build", host="web1"))
    assert steps.at(10.2) == [("build", ("web2",), 10.2)]
    assert steps.at(19.0) == [] and steps.at(20.1) == [("build", ("web2",), 20.1)]
    steps.signs(events.StepFinished("build", host="web2"))
    assert steps.at(99.0) == []


def test_a_step_of_this_machine_names_no_host() -> None:
    steps = Steps()
    steps.signs(events.StepStarted("build hook"))
    assert steps.at(5.0) == [("build hook", (), 5.0)]


def test_the_signs_come_by_themselves_and_end_with_the_run() -> None:
    seen = threading.Event()
    now = [0.0]
    signs = SignsOfLife(lambda event: seen.set(), lambda: now[0])
    signs(events.StepStarted("build", host="web1"))
    now[0] = 5.0
    assert seen.wait(30), "no sign of life"
    signs(events.RunFinished("succeeded", 0, None, None, 5.0))
    thread = signs._thread
    assert thread is not None
    thread.join(30)
    assert not thread.is_alive()


def test_json_has_no_signs_of_life() -> None:
    out = io.StringIO()
    JsonLines(out)(events.StepRunning("build", ("web1",), 20.0))
    assert out.getvalue() == ""
