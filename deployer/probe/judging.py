"""Judges a probe's log after the fact, when it is known which release was proven when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from deployer.probe.receipt import Failure


def unproven_answers(log_path: Path, proven_at: Mapping[str, float]) -> list[Failure]:
    """The answers in the log that came from a release before it was proven, or from one that never was.

    `proven_at` maps a release to the time (seconds since the epoch) from which it may answer.
    """
    with log_path.open(encoding="utf-8") as log:
        answers = [entry for entry in map(json.loads, log) if "ok" in entry and entry["release"]]
    return [
        Failure(answer["ts"], answer["kind"], f"unproven: answered by {answer['release']}")
        for answer in answers
        if answer["ts"] < proven_at.get(answer["release"], float("inf"))
    ]
