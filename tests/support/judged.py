"""The story of the judge, told behind any balancer: which releases go back from their canary, and what users saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.lab import Lab
from deployer.probe import Receipt
from support.project import Done, Project
from support.traffic import traffic

ROLLING = {"drain_timeout": "2s", "soak": "8s", "waves": [1, 2], "judge": {"slower": "3x", "min_requests": 50}}
SETTINGS = {
    "health": {"within": "60s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": ROLLING,
}
RATE = 90.0


def judged(done: Done) -> dict[str, Any]:
    """The last verdict."""
    return done.of("wave.judged")[-1]


def pushed(
    shop: Project, lab: Lab, log: Path, domain: str, *args: str, expect: int, rate: float = RATE
) -> tuple[Done, Receipt]:
    """A push under traffic of plain requests, and what users saw of it."""
    with traffic(lab.address, log, mix="get", rate=rate, host_header=domain) as users:
        done = shop.deploy("push", *args, expect=expect)
    assert users.receipt is not None
    return done, users.receipt


def goes_back(done: Done, seen: Receipt, before: str, why: str) -> None:
    """The canary alone had it, everything serves as before, and the error says what a person needs."""
    error, verdict = done.error, judged(done)
    assert done.last["outcome"] == "rolled_back" and error["code"] == "worse", done.summary
    assert why in error["message"] and "rolling.judge" in error["hint"], error
    assert verdict["ok"] is False and len(verdict["instances"]) == 1, verdict
    assert error["message"].startswith(f"{verdict['instances'][0]} serves worse"), error
    assert "deploy logs" in error["hint"]
    assert len(done.of("wave.judged")) == 1, "only the canary's wave was reached"
    # Nobody met the release but at the canary: a third of the requests for as long as it was watched.
    assert 0 < seen.releases[done.release] < seen.requests / 2, seen.releases
    assert seen.releases[before] > seen.releases[done.release], seen.releases
