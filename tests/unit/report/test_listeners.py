"""The three ways a run is shown, with and without a terminal, and when nobody reads any more."""

from __future__ import annotations

import io
import json
import threading

import pytest
from rich.console import Console
from samples import EVENTS

from deployer import events
from deployer.report.lines import line_of
from deployer.report.listeners import JsonLines, Plain, Rich

CONTRACT = {"outcome", "exit_status", "release", "previous", "duration_s", "hosts", "probe", "error"}


def test_json_is_one_object_a_line_with_the_head_of_the_contract() -> None:
    out = io.StringIO()
    bus = events.Bus(JsonLines(out), run="run-1")
    for event in EVENTS:
        bus.emit(event)
    told = [json.loads(line) for line in out.getvalue().split("\n")[:-1]]
    assert [each["event"] for each in told] == [event.name for event in EVENTS if not event.for_people]
    assert all(list(each)[:4] == ["v", "ts", "run", "event"] for each in told)
    assert all(each["v"] == 1 and each["run"] == "run-1" and each["ts"] == 1700000000.25 for each in told)
    assert all(each.keys() >= CONTRACT for each in told if each["event"] == "run.finished")


def test_json_stays_one_line_of_ascii_whatever_a_host_printed() -> None:
    out = io.StringIO()
    odd = 'é ✓ 😀 \udc80 \u2028 \x00 \x1b[31m " \\ \n second'
    JsonLines(out)(events.Output(odd))
    assert out.getvalue().isascii() and out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["line"] == odd


def test_lines_of_many_threads_do_not_mix() -> None:
    out = io.StringIO()
    listener = JsonLines(out)

    def talk(host: str) -> None:
        for number in range(200):
            listener(events.Output(f"{number}" * 20, host=host))

    threads = [threading.Thread(target=talk, args=(f"web{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in out.getvalue().splitlines()]) == 1600


def test_plain_has_the_time_before_every_line() -> None:
    out = io.StringIO()
    for event in EVENTS:
        Plain(out)(event)
    lines = out.getvalue().splitlines()
    assert len(lines) == sum(len(line.splitlines()) for event in EVENTS if (line := line_of(event)))
    assert all(line[2] == line[5] == ":" and line[8] == " " for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_rich_shows_the_same_lines_on_a_terminal_and_without_one(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, highlight=False, color_system=None)
    listener = Rich(console)
    for event in EVENTS:
        listener(event)
    shown = out.getvalue()
    for event in [event for event in EVENTS if not isinstance(event, events.StepRunning)]:  # the live line says that
        for line in (line_of(event) or "").splitlines():
            assert line.rstrip() in shown, line
    assert "\x1b" not in shown or terminal


def test_rich_takes_what_hosts_print_for_text_and_not_for_markup() -> None:
    out = io.StringIO()
    listener = Rich(Console(file=out, width=200, highlight=False))
    listener(events.StepStarted("[/]", host="web1"))
    listener(events.Output("[bold]no[/bold] [/nothing] :warning:", host="web1", step="hook"))
    listener(events.RunFinished("failed", 1, None, None, 0.1))
    assert "[bold]no[/bold] [/nothing] :warning:" in out.getvalue()


def test_rich_shows_what_runs_now_until_it_ends() -> None:
    out = io.StringIO()
    listener = Rich(Console(file=out, force_terminal=True, width=200, color_system=None))
    listener(events.StepStarted("switch", host="web1", instance="web1:0"))
    listener(events.StepStarted("switch", host="web2", instance="web2:0"))
    assert "switch web1:0 · switch web2:0" in listener.running
    listener(events.StepFinished("switch", host="web1", instance="web1:0"))
    assert listener.running == "switch web2:0"
    listener(events.RunFinished("succeeded", 0, "R2", None, 1.0))
    assert listener.running == ""


def test_events_of_a_run_carry_its_id_and_keep_their_own() -> None:
    heard: list[events.Event] = []
    bus = events.Bus(run="run-1")
    bus.subscribe(heard.append)
    bus.emit(events.Output("a"))
    bus.emit(events.Output("b", run="other"))
    assert [event.run for event in heard] == ["run-1", "other"]
