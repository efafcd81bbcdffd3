"""`deploy logs` from journals of real hosts: every line of a busy worker once, and all hosts in the order of time."""

from __future__ import annotations

import itertools
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.controller import Controller
from support.project import Project

from deployer.lab import LabSpec, status, up

pytestmark = [pytest.mark.machines, pytest.mark.more]

BUSY = """\
import time
number, began = 0, time.monotonic()
while True:
    while number < 200 * (time.monotonic() - began):
        number += 1
        print(time.time(), "count", number, flush=True)
        print("the same again", flush=True)
    time.sleep(0.02)
"""


@pytest.fixture
def busy(lab_name: str, tmp_path: Path) -> Iterator[Project]:
    """Two hosts, each with a worker that prints 200 numbers a second and as many equal lines."""
    up(LabSpec(name=lab_name, kind="machines", hosts=2, balancer="none"), print)
    settings = {"app": "busy", "runtime": {"workers": 1}, "processes": {"busy": {"command": "python busy.py"}}}
    project = Project(tmp_path / "busy", lab_name, "shop", settings)
    project.commit("with a busy worker", busy__py=BUSY)
    project.deploy("setup")
    project.deploy("push")
    yield project


def test_following_a_busy_worker_loses_and_doubles_nothing(busy: Project) -> None:
    following = Controller(busy, "logs", "-f", "--process", "busy")
    try:
        following.until_events(2 * 2 * 200 * 10)
        following.process.send_signal(signal.SIGINT)
        ended = following.end()
    finally:
        following.close()
    assert ended["exit_status"] == 0
    lines = [(event["host"], event["line"]) for event in following.events if event["event"] == "output"]
    for host in ("web1:busy@1", "web2:busy@1"):
        own = [line for where, line in lines if where == host]
        numbers = [int(line.split()[2]) for line in own if " count " in line]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), host
        assert abs(own.count("the same again") - len(numbers)) <= 1, host
    times = [float(line.split()[0]) for _, line in lines if " count " in line]
    turned = sum(later < earlier - 0.1 for earlier, later in itertools.pairwise(times))
    assert turned == 0, f"{turned} lines of {len(times)} come more than 0.1 s too late"


def test_without_following_the_last_lines_are_merged_by_time_too(busy: Project) -> None:
    lines = busy.deploy("logs", "--process", "busy", "-n", "100").of("output")
    assert len(lines) == 200
    numbered = [line["line"] for line in lines if re.match(r"[0-9.]+ count ", line["line"])]
    times = [float(line.split()[0]) for line in numbered]
    assert max(earlier - later for earlier, later in itertools.pairwise(times)) < 0.1
    hosts = [line["host"] for line in lines]
    assert sum(one != other for one, other in itertools.pairwise(hosts)) > 3, "one host after the other"


def test_following_goes_on_where_the_journal_was_vacuumed_and_says_so(busy: Project, lab_name: str) -> None:
    lab = status(lab_name)
    assert lab is not None
    following = Controller(busy, "logs", "-f", "--process", "busy")
    try:
        following.until_events(1000)
        following.process.send_signal(signal.SIGSTOP)  # so that the last line it read is gone when it goes on
        lab.exec("web1", ["journalctl", "--rotate"])
        lab.exec("web1", ["journalctl", "--vacuum-time=1s"])
        following.process.send_signal(signal.SIGCONT)
        following.until_true("the gap was said", lambda: gaps(following.events))
        seen = len(following.events)
        following.until_events(seen + 2000)
        following.process.send_signal(signal.SIGINT)
        ended = following.end()
    finally:
        following.close()
    assert ended["exit_status"] == 0
    assert gaps(following.events) == ["web1:busy@1"], "once, and of the host alone whose journal it was"


def gaps(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """The logs of which lines may be missing."""
    return [event["host"] for event in events if "lines may be missing" in str(event.get("message"))]
