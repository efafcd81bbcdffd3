"""What the ledgers tell a person: a line a run."""

from __future__ import annotations

from deployer.rollout.status import ended_runs

NEW = "20240601T000000Z-bbbbbbbb"


def entry(ts: float, event: str, **more: object) -> dict[str, object]:
    return {"ts": ts, "event": event, **more}


def test_a_run_is_one_line_with_who_and_how_it_ended() -> None:
    end = {"command": "push", "release": NEW, "who": "ann@desk", "outcome": "rolled_back", "why": "web1: no"}
    lines = ended_runs(
        [
            entry(0.0, "intent", run="r1", release=NEW),
            entry(1.0, "outcome", run="r1", release=NEW),
            entry(2.0, "ended", run="r1", **end),
            entry(2.0, "ended", run="r1", **end),
        ]
    )
    assert lines == [f"1970-01-01 00:00:00 push {NEW} by ann@desk: rolled_back: web1: no  (r1)"]


def test_a_run_that_died_and_a_freeze_are_told() -> None:
    lines = ended_runs(
        [
            entry(0.0, "intent", run="r1", release=NEW),
            entry(60.0, "frozen", who="ann@desk", why="the sale is on"),
            entry(60.0, "frozen", who="ann@desk", why="the sale is on"),
            entry(90.0, "thawed", who="bob@desk"),
        ]
    )
    assert lines == [
        f"1970-01-01 00:00:00 a run that noted no end, of {NEW}  (r1)",
        "1970-01-01 00:01:00 frozen by ann@desk: the sale is on",
        "1970-01-01 00:01:30 thawed by bob@desk",
    ]
