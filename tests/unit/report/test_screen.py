"""A run goes on whatever becomes of its output: a view that raises or locks up, a stopped terminal, a closed pipe."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import select
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console
from samples import EVENTS

from deployer import events
from deployer.report.lines import line_of
from deployer.report.listeners import JsonLines, Plain, Rich
from deployer.report.screen import Screen

LIMIT_S = 20.0


class Recorder:
    """A listener that keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: events.Event) -> None:
        self.lines.append(line_of(event) or event.name)


def nothing(error: OSError) -> None:
    pass


def test_events_are_shown_in_order_and_all_of_them_before_flush_returns() -> None:
    recorder = Recorder()
    with Screen(recorder, nothing, out=io.StringIO()) as screen:
        for number in range(500):
            screen(events.Output(f"line {number}", host="web1"))
        screen.flush()
        assert [line.rpartition("│ ")[2] for line in recorder.lines] == [f"line {number}" for number in range(500)]


def test_a_closed_pipe_is_reported_once_and_the_run_goes_on() -> None:
    class ClosedPipe(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    calls: list[str] = []
    out = ClosedPipe()
    with Screen(JsonLines(out), lambda error: calls.append("gone"), out=out) as screen:
        for event in EVENTS:
            screen(event)
        screen.flush()
        for event in EVENTS:
            screen(event)
    assert calls == ["gone"]


def test_a_listener_that_raises_is_replaced_by_the_plain_one_which_says_so() -> None:
    def broken(event: events.Event) -> None:
        raise KeyError("a fault of the view")

    out = io.StringIO()
    with Screen(broken, nothing, out=out) as screen:
        screen(events.Output("the first line", host="web1"))
        screen(events.Output("the second line", host="web1"))
    lines = out.getvalue().splitlines()
    assert "replaces the display, which failed: KeyError: 'a fault of the view'" in lines[0]
    assert ["the first line" in lines[1], "the second line" in lines[2]] == [True, True]


def test_a_listener_that_locks_up_is_replaced_and_nothing_is_lost() -> None:
    never = threading.Event()

    def stuck(event: events.Event) -> None:
        never.wait(LIMIT_S)

    out = io.StringIO()
    with Screen(stuck, nothing, out=out, patience=0.2) as screen:
        for number in range(3):
            screen(events.Output(f"line {number}", host="web1"))
    never.set()
    lines = out.getvalue().splitlines()
    assert "took more than 0.2 s" in lines[0]
    assert [line.rpartition("│ ")[2] for line in lines[1:]] == ["line 0", "line 1", "line 2"]


def test_when_the_plain_listener_fails_too_the_run_still_goes_on() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise ValueError("I/O operation on closed file")

    out = Broken()
    with Screen(Plain(out), nothing, out=out) as screen:
        screen(events.Output("a line"))
        screen.flush()
        screen(events.Output("another"))


@contextmanager
def stopped_terminal() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A terminal whose user has pressed Ctrl-S: its other end, and the stream to write to."""
    keys, screen = pty.openpty()
    stream = os.fdopen(screen, "w", encoding="utf-8")
    termios.tcflow(screen, termios.TCOOFF)
    try:
        yield keys, stream
    finally:
        os.close(keys)
        with contextlib.suppress(OSError):  # nobody has the other end any more
            stream.close()


@pytest.mark.parametrize("view", ["rich", "plain"])
def test_a_stopped_terminal_holds_nothing_up_and_shows_everything_later(view: str) -> None:
    with stopped_terminal() as (keys, stream):
        console = Console(file=stream, force_terminal=True, width=100, color_system=None, highlight=False)
        inner = Rich(console) if view == "rich" else Plain(stream)
        screen = Screen(inner, nothing, out=stream, patience=2.0)
        for number in range(3000):  # more than the terminal's own buffer takes
            screen(events.Output(f"line {number}", host="web1"))
        assert not select.select([keys], [], [], 3.0)[0]  # longer than its patience
        termios.tcflow(stream.fileno(), termios.TCOON)
        flushed = threading.Thread(target=screen.flush)
        flushed.start()
        shown = b""
        fcntl.fcntl(keys, fcntl.F_SETFL, os.O_NONBLOCK)
        while flushed.is_alive() or select.select([keys], [], [], 0)[0]:
            if select.select([keys], [], [], 0.1)[0]:
                shown += os.read(keys, 1 << 16)
        screen.close()
    text = shown.decode()
    assert "replaces the display, which failed" not in text  # the terminal was stopped, the view was well
    assert [number for number in range(3000) if f"│ line {number}\r" not in text.replace(" \r", "\r")] == []


def test_lines_that_wait_are_bounded_and_those_left_out_are_counted() -> None:
    free, recorder = threading.Event(), Recorder()

    def slow(event: events.Event) -> None:
        free.wait(LIMIT_S)
        recorder(event)

    with Screen(slow, nothing, out=io.StringIO(), waiting=10, patience=LIMIT_S) as screen:
        for number in range(25):
            screen(events.Output(f"line {number}"))
        screen(events.StepFinished("switch", host="web1"))  # what is no printed line is never left out
        free.set()
        screen.flush()
        screen(events.Output("later"))
    assert [line for line in recorder.lines if "switch" in line]
    assert recorder.lines[-2].startswith("! 15 lines are left out")
    assert recorder.lines[-1].endswith("later")


def test_with_backpressure_the_emitter_waits_and_nothing_is_lost() -> None:
    free, recorder = threading.Event(), Recorder()

    def slow(event: events.Event) -> None:
        free.wait(LIMIT_S)
        recorder(event)

    with Screen(slow, nothing, out=io.StringIO(), waiting=10, patience=LIMIT_S, backpressure=True) as screen:

        def emit() -> None:
            for number in range(100):
                screen(events.Output(f"line {number}"))

        emitter = threading.Thread(target=emit)
        emitter.start()
        emitter.join(0.3)
        assert emitter.is_alive()
        free.set()
        emitter.join(LIMIT_S)
    assert [line.rpartition(" ")[2] for line in recorder.lines] == [str(number) for number in range(100)]


def test_flush_takes_the_live_line_off_the_screen_for_others_to_write() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with Screen(Rich(console), nothing, out=out) as screen:
        screen(events.StepStarted("switch", host="web1", instance="web1:0"))
        screen.flush()
        assert out.getvalue().endswith("\x1b[1A\x1b[2K") or out.getvalue().endswith("\x1b[?25h")
        screen(events.StepStarted("checks", host="web1"))
        screen.flush()
        assert "checks web1" in out.getvalue()


def test_nobody_waits_for_the_output_once_a_person_wants_to_stop() -> None:
    never = threading.Event()
    screen = Screen(lambda event: bool(never.wait(LIMIT_S)), nothing, out=io.StringIO(), patience=LIMIT_S)  # type: ignore[arg-type]
    screen(events.Output("a line"))
    waiting = threading.Thread(target=screen.flush)
    waiting.start()
    screen.abandon()
    waiting.join(LIMIT_S)
    assert not waiting.is_alive()
    never.set()
