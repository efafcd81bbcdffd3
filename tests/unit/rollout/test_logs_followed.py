"""`deploy logs -f` on many hosts: one order, and no host that ends the others."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from scripted import World
from support.topologies import topology

from deployer.events import Bus, Event, Output, Warned
from deployer.remote.errors import AgentError
from deployer.rollout.queries.logs import View
from deployer.rollout.run.record import Record
from deployer.rollout.run.run import Run
from deployer.rollout.steps.log_reader import LogReader, sources


class Fleet:
    """Three hosts whose next answers are `pages` (host → `(now, lines)` of its one instance)."""

    def __init__(self) -> None:
        shape = topology(3)
        self.events: list[Event] = []
        self.world = World(shape)
        self.pages: dict[str, list[tuple[float, list[tuple[float, str]]]]] = {}
        self.world.logs_read = self._read  # type: ignore[method-assign]
        bus = Bus(self.events.append)
        self.run = Run(shape, self.world, bus, Record("logs"), "me@here", threading.Event())  # type: ignore[arg-type]
        wanted = {web.name: {"8000": sources(shape, web)["8000"]} for web in shape.web}
        self.reader = LogReader(self.run, wanted, lines=50, since=None)
        self.view = View(self.run, None)

    def _read(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        now, lines = self.pages[host].pop(0) if self.pages.get(host) else (99.0, [])
        page = {"lines": lines, "cursor": {"offset": now}, "more": False, "gap": False}
        return {"now": now, "logs": {"8000": page}}

    def rounds(self, count: int) -> list[str]:
        for _ in range(count):
            self.view.show(self.reader.poll())
        self.view.finish()
        return [f"{event.host} {event.line}" for event in self.events if isinstance(event, Output)]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_lines_of_all_hosts_come_in_the_order_of_their_times(fleet: Fleet) -> None:
    """web2 is read a moment later than web1, so it has lines already that web1 has only in the next round."""
    fleet.pages = {
        "web1": [(10.0, [(1.0, "a"), (9.0, "c")]), (20.0, [(11.0, "e"), (19.0, "g")])],
        "web2": [(12.0, [(2.0, "b"), (10.5, "d"), (11.5, "f")]), (20.0, [])],
    }
    assert fleet.rounds(2) == ["web1:0 a", "web2:0 b", "web1:0 c", "web2:0 d", "web1:0 e", "web2:0 f", "web1:0 g"]


def test_a_clock_that_is_set_back_does_not_turn_the_lines_of_a_log_around(fleet: Fleet) -> None:
    fleet.pages = {"web1": [(10.0, [(5.0, "first"), (1.0, "second")])], "web2": [(10.0, [(2.0, "elsewhere")])]}
    assert fleet.rounds(1) == ["web2:0 elsewhere", "web1:0 first", "web1:0 second"]


def test_a_host_that_drops_out_does_not_end_the_others(fleet: Fleet) -> None:
    fleet.pages = {"web1": [(1.0, [(1.0, "a")]), (2.0, [(2.0, "b")])]}
    fleet.world.on("logs.read", "web2", lambda: fleet.world.loses("web2"))
    assert fleet.rounds(2) == ["web1:0 a", "web1:0 b"]
    assert list(fleet.reader.dropped) == ["web2"] and fleet.reader.hosts == ["web1", "web3"]


def test_a_slow_host_delays_nobody_and_loses_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.rollout.steps.log_reader.PATIENCE_S", 0.05)
    answers, free = threading.Event(), fleet.run.call

    def call(host: str, *args: Any, **more: Any) -> dict[str, Any]:
        if host == "web2" and not answers.is_set():
            answers.wait(30)
        return free(host, *args, **more)

    monkeypatch.setattr(fleet.run, "call", call)
    fleet.pages = {"web1": [(1.0, [(1.0, "a")])], "web2": [(1.0, [(1.0, "late")])]}
    assert fleet.rounds(2) == ["web1:0 a"]
    answers.set()
    while "web2:0 late" not in fleet.rounds(1):
        pass


def test_what_a_host_refuses_at_the_beginning_is_the_error(fleet: Fleet) -> None:
    fleet.world.fails("logs.read", "web2", "no_times")
    with pytest.raises(AgentError) as refused:
        fleet.reader.read_last(partial=True)
    assert refused.value.code == "no_times"


def test_missing_lines_are_said(fleet: Fleet) -> None:
    page = {"lines": [], "cursor": {}, "more": False, "gap": True}
    fleet.world.logs_read = lambda host, args: {"now": 1.0, "logs": {"8000": page}}  # type: ignore[method-assign]
    fleet.rounds(1)
    warned = [event for event in fleet.events if isinstance(event, Warned)]
    assert [event.host for event in warned] == ["web1:0", "web2:0", "web3:0"]
    assert "lines may be missing" in warned[0].message


def test_a_gap_is_said_before_the_lines_that_follow_it(fleet: Fleet) -> None:
    page = {"lines": [[1.0, "after the gap"]], "cursor": {}, "more": False, "gap": True}
    fleet.world.logs_read = lambda host, args: {"now": 1.0, "logs": {"8000": page}}  # type: ignore[method-assign]
    fleet.rounds(1)
    kinds = [type(event) for event in fleet.events if isinstance(event, Warned | Output)]
    assert kinds == [Warned] * 3 + [Output] * 3


@pytest.mark.parametrize(("every", "reports"), [(0.0, 18), (600.0, 1)], ids=["each page", "the first page"])
@pytest.mark.parametrize(("unread", "distance"), [(0, "30 s"), (31_000_000, "31 MB")], ids=["journal", "file"])
def test_a_log_that_is_written_faster_than_it_is_shown_says_how_far_it_is_behind(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, unread: int, distance: str, every: float, reports: int
) -> None:
    monkeypatch.setattr("deployer.rollout.queries.logs.LAG_REPORT_S", every)
    rounds = iter(range(100))

    def flood(host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        number = next(rounds)
        more = host == "web1" and number < 18
        lines = [[70.0 + number, f"line {number}"]] if host == "web1" else []
        page = {"lines": lines, "cursor": {"at": number}, "more": more, "gap": False, "unread": unread if more else 0}
        return {"now": 100.0 + number, "logs": {"8000": page}}

    fleet.world.logs_read = flood  # type: ignore[method-assign]
    fleet.reader = LogReader(fleet.run, {"web1": fleet.reader._logs["web1"]}, lines=50, since=None)
    fleet.rounds(20)
    warned = [event for event in fleet.events if isinstance(event, Warned)]
    assert {event.host for event in warned} == {"web1:0"}
    assert warned[0].message == f"{distance} behind: lines come faster than they are shown"
    assert warned[0].hint == "deploy logs {env} -f --grep ERROR shows fewer"
    assert not any(event.hint for event in warned[1:])
    assert len(warned) == reports + 1
    assert warned[-1].message == "no longer behind: all lines were shown"


def test_a_page_that_is_full_and_new_is_not_behind(fleet: Fleet) -> None:
    numbers = iter(range(100))

    def busy(host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        page = {"lines": [[9.0, "x"]], "cursor": {"at": next(numbers)}, "more": True, "gap": False, "unread": 1000}
        return {"now": 10.0, "logs": {"8000": page}}

    fleet.world.logs_read = busy  # type: ignore[method-assign]
    fleet.rounds(2)
    assert not [event for event in fleet.events if isinstance(event, Warned)]


def test_ctrl_c_does_not_wait_for_the_rest_of_a_flood(fleet: Fleet) -> None:
    stop = fleet.run.stop
    fleet.run.bus.subscribe(lambda event: stop.set() if isinstance(event, Output) and event.line == "line 9" else None)
    fleet.pages = {"web1": [(10.0, [(1.0, f"line {number}") for number in range(5000)])]}
    fleet.view = View(fleet.run, None, stop)
    assert len(fleet.rounds(1)) == 10


def test_ctrl_c_does_not_wait_for_a_slow_host(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.rollout.steps.log_reader.PATIENCE_S", 300.0)
    answers = threading.Event()
    monkeypatch.setattr(fleet.run, "call", lambda *args, **more: answers.wait(300))
    stopping = threading.Timer(0.1, fleet.run.stop.set)
    stopping.start()
    assert fleet.reader.poll() == []
    answers.set()
