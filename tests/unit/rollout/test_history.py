"""What the ledgers and this machine tell a person: a line per run, however it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.rollout.queries.history import History, history_of, of_one_run, text_of
from deployer.rollout.run.local_runs import KEPT, LocalRuns
from deployer.state import state

NEW = "20240601T000000Z-bbbbbbbb"


def entry(ts: float, event: str, **more: object) -> dict[str, Any]:
    return {"ts": ts, "event": event, **more}


def told(*entries: dict[str, Any], **more: Any) -> list[str]:
    return list(text_of(history_of([(each, "web1") for each in entries], **more)))


def test_a_run_is_one_line_with_who_and_how_it_ended() -> None:
    end = {"command": "push", "release": NEW, "who": "ann@desk", "outcome": "rolled_back", "why": "web1: no"}
    ended = entry(12.0, "ended", run="r1", duration_s=12.0, **end)
    lines = told(
        entry(1.0, "intent", run="r1", release=NEW), entry(2.0, "outcome", run="r1", release=NEW), ended, ended
    )
    assert lines == [f"1970-01-01 00:00:00 push {NEW} by ann@desk: rolled back after 12 s: web1: no  (r1)"]


def test_a_run_that_was_killed_is_told_with_all_that_was_noted_before() -> None:
    begun = {"run": "r1", "who": "ann@desk", "command": "push"}
    lines = told(entry(0.0, "begun", **begun), entry(1.0, "begun", **begun, release=NEW))
    why = "has no recorded end: it was killed, or its hosts were lost"
    assert lines == [f"1970-01-01 00:00:00 push {NEW} by ann@desk: {why}  (r1)"]
    assert "is under way" in told(entry(0.0, "begun", **begun), under_way={"r1"})[0]


def test_the_ledgers_of_an_earlier_version_are_told_as_far_as_they_go() -> None:
    (line,) = told(entry(0.0, "intent", run="r1", release=NEW))
    assert line.startswith(f"1970-01-01 00:00:00 a run {NEW}: has no recorded end")


def test_freezes_are_told_once_though_every_host_notes_them() -> None:
    frozen = {"who": "ann@desk", "why": "the sale is on"}
    lines = told(
        entry(60.0, "frozen", **frozen), entry(60.2, "frozen", **frozen), entry(90.0, "thawed", who="bob@desk")
    )
    assert lines == [
        "1970-01-01 00:01:00 frozen by ann@desk: the sale is on",
        "1970-01-01 00:01:30 thawed by bob@desk",
    ]


def test_a_run_that_never_came_to_a_lock_is_known_on_this_machine() -> None:
    runs = LocalRuns("shop", "prod")
    runs.begin("r1", who="ann@desk", command="push")
    runs.end("r1", who="ann@desk", command="push", outcome="rolled_back", why="step build: it failed", duration_s=3.0)
    (line,) = told(local=runs.read())
    assert "push by ann@desk: rolled back after 3.0 s: step build: it failed  (r1, known on this machine only)" in line
    assert LocalRuns("shop", "staging").read() == LocalRuns("blog", "prod").read() == []


def test_a_run_that_the_hosts_know_is_not_told_twice() -> None:
    runs = LocalRuns("shop", "prod")
    runs.begin("r1", who="ann@desk", command="push")
    runs.end("r1", who="ann@desk", command="push", outcome="interrupted", why="stopped at once", duration_s=3.0)
    (line,) = told(entry(0.0, "begun", run="r1", who="ann@desk", command="push", release=NEW), local=runs.read())
    assert f"push {NEW} by ann@desk: interrupted after 3.0 s: stopped at once  (r1)" in line
    runs.forget("r1")
    assert runs.read() == []


def test_a_process_that_died_here_before_any_host_noted_it() -> None:
    code = "import sys; from deployer.rollout.run.local_runs import LocalRuns; "
    code += "LocalRuns('shop', 'prod').begin('r1', who='ann@desk', command='push'); sys.stdin.readline()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=dict(os.environ))
    runs = LocalRuns("shop", "prod")
    while not runs.read():
        assert child.poll() is None
    assert "is under way" in told(local=runs.read())[0]
    child.kill()
    child.communicate()
    (line,) = told(local=runs.read())
    assert "push by ann@desk: interrupted after" in line and "its process was killed" in line


def killed(moment: str) -> None:
    """A push of a process that kills itself at that moment, as power does."""
    code = (
        "import os, signal; from deployer.rollout.run.local_runs import LocalRuns; runs = LocalRuns('shop', 'prod'); "
    )
    code += f"runs.begin('r1', who='ann@desk', command='push'); {moment}; os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False)


def test_a_killed_run_is_interrupted_at_its_last_known_step() -> None:
    killed("runs.note_step('r1', 'ship', ''); runs.note_step('r1', 'switch', 'web2')")
    runs = LocalRuns("shop", "prod")
    (line,) = told(local=runs.read())
    assert "interrupted" in line and "its last known step is switch on web2, begun at 20" in line
    (end,) = runs.settle()
    assert end["run"] == "r1" and runs.settle() == [], "it is said once"
    assert told(local=runs.read()) == [line], "and stays in the history"


def test_a_run_whose_number_another_process_has_now_is_not_alive() -> None:
    killed("runs.note_step('r1', 'ship', '')")
    (path,) = state().rglob("*.jsonl")
    path.write_text(path.read_text().replace('"pid": ', f'"pid": {os.getpid()}, "was": '))
    (line,) = told(local=LocalRuns("shop", "prod").read())
    assert "under way" not in line and "interrupted" in line


@pytest.mark.parametrize("kept", [0, 1, 30, -1, -12])
def test_a_file_that_was_cut_by_a_power_loss_hides_no_run(kept: int) -> None:
    killed("runs.note_step('r1', 'ship', '')")
    (path,) = state().rglob("*.jsonl")
    path.write_bytes(path.read_bytes()[:kept])
    runs = LocalRuns("shop", "prod")
    (line,) = told(local=runs.read())
    assert "interrupted" in line and "(r1, known on this machine only)" in line
    assert len(runs.settle()) == 1 and runs.settle() == []
    assert told(local=runs.read())[0].endswith(line[-60:])


@pytest.mark.parametrize(
    "line",
    [b"\0" * 200, b"12", b"[]", b"null", b"{}", b'{"run": "r1"}', b'{"run": 5, "event": "x", "ts": 1}', b"\xff\xfe"]
    + [b'{"run": "r1", "event": "begun", "ts": %s}' % ts for ts in (b'"x"', b"null", b"1e999", b"true", b"-1")],
)
def test_lines_that_are_not_ours_are_passed_over(line: bytes) -> None:
    runs = LocalRuns("shop", "prod")
    runs.begin("r1", who="ann@desk", command="push")
    runs.end("r1", who="ann@desk", command="push", outcome="succeeded", why="", duration_s=1.0)
    (path,) = state().rglob("*.jsonl")
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert "push by ann@desk: succeeded" in told(local=LocalRuns("shop", "prod").read())[0]


def test_only_the_newest_runs_are_kept_here() -> None:
    runs = LocalRuns("shop", "prod")
    for number in range(KEPT + 5):
        runs.begin(f"r{number:04d}")
    assert [each["run"] for each in runs.read()] == [f"r{number:04d}" for number in range(5, KEPT + 5)]


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    runs = LocalRuns("shop", "prod")
    runs.begin("r1")
    runs.end("r1")
    runs.forget("r1")
    assert runs.read() == [] and "Not a directory" in runs.problem


@pytest.mark.parametrize("why", ["no home", "loop"])
def test_a_home_that_cannot_be_had_stops_no_run(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("HOME", str(tmp_path / "loop"))
    if why == "no home":
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home directory")))
    runs = LocalRuns("shop", "prod")
    runs.begin("r1")
    runs.note_step("r1", "ship", "")
    runs.end("r1")
    assert runs.problem and runs.read() == runs.settle() == []


def test_every_line_of_one_run_with_its_hosts() -> None:
    lines = [(entry(2.0, "ended", run="r1", outcome="succeeded"), "web2"), (entry(1.0, "begun", run="r1"), "web1")]
    lines.append((entry(1.5, "begun", run="r2"), "web1"))
    answer = of_one_run(history_of(lines), "r1", lines)
    assert [(line.host, line.event) for line in answer.lines] == [("web1", "begun"), ("web2", "ended")]
    assert [each.run for each in answer.runs] == ["r1"]
    assert History.model_validate_json(answer.model_dump_json()) == answer
