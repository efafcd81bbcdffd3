"""What a person reads: a line for every event, or silence on purpose; and errors as one block."""

from __future__ import annotations

import pytest
from samples import EVENTS

from deployer import events
from deployer.errors import DeployError, RolloutError
from deployer.report.lines import error_block, line_of, seconds, width_of

LINES = [
    "push shop → prod",
    "release R2  (now: R1)\nwave 1 of 1: web1:0 (restart)",
    None,
    "… build on web1, web2, 20 s so far",
    "✓ web1:0           switch       2.3 s  R2 proven",
    "✗ lb1              drain        31 s  balancer_down",
    "✓ here             lock         0.0 s",
    "wave 1 of 3: web1:0, web2:0 → R2",
    "restoring 1 of 1: web1:0 → R1",
    None,
    None,
    "  web1             │ Running upgrade -> 3f2a [ok] :smile:",
    None,
    "  here             │ ",
    "  here             │ 20240601T000000Z-bbbbbbbb  current",
    "! lb1: it was left drained (deploy status prod)",
    "! there is no balancer",
    None,
    "✗ web1             check        test_port[8000]: AssertionError: not listening",
    None,
    "succeeded: R2 (before: R1) in 65 s",
    "unchanged: R2 in 1.2 s",
    "rolled back: R1 serves as before (after 3 min 20 s)",
    "rolled back: no release serves, as before (after 9.0 s)",
    "rolled back: R1 serves on a as before, nothing serves on b, as before (after 9.0 s)",
    "failed: nothing serves on a any more, R2 serves on b now (after 9.0 s)",
    "rolled back: the release that serves is unknown (after 9.0 s)",
    "rolled back: nothing that serves was touched (after 9.0 s)",
    "refused in 0.3 s",
    "interrupted in 12 s",
    "interrupted: R1 serves as before (after 12 s)",
]


@pytest.mark.parametrize(
    ("event", "line"), list(zip(EVENTS, LINES, strict=True)), ids=lambda each: getattr(each, "name", "")
)
def test_an_event_as_a_line(event: events.Event, line: str | None) -> None:
    assert line_of(event) == line


def test_no_kind_of_event_was_forgotten() -> None:
    """A new event needs a line, or a `None` above that says that it is silent on purpose."""
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert kinds - {events.Event} == {type(event) for event in EVENTS}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (119.4, "119 s"), (120, "2 min 00 s"), (185.9, "3 min 05 s")],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


def test_the_whole_of_an_error() -> None:
    error = RolloutError(
        "R2 did not answer",
        host="web1",
        step="switch",
        cause="the process ended with 3",
        log=["Traceback (most recent call last):", "ImportError: no module named shop"],
        hint="mend it and push again",
    )
    assert error_block(error).splitlines() == [
        "error: R2 did not answer",
        "  where: web1, step switch",
        "  why:   the process ended with 3",
        "  its last lines:",
        "    │ Traceback (most recent call last):",
        "    │ ImportError: no module named shop",
        "  next:  mend it and push again",
    ]


def test_an_error_that_knows_little_is_one_line() -> None:
    assert error_block(DeployError("it broke")) == "error: it broke"
    assert (
        error_block(DeployError("no such key", file="deploy.yaml", line=3)).splitlines()[1] == "  where: deploy.yaml:3"
    )


def test_the_columns_are_as_wide_as_the_names_of_the_hosts() -> None:
    hosts = ("web1", "web-frontend-07.eu-central-1.example.com")
    width = width_of(events.RunStarted("push", "shop", "prod", "me@here", hosts))
    lines = [
        line_of(events.StepFinished(step, host=host, instance=f"{host}:0"), width) or ""
        for host in hosts
        for step in ("switch", "release hook")
    ]
    assert len({line.index("0.0 s") for line in lines}) == 1, lines
