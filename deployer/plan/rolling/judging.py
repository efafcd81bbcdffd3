"""The statistics of the judge: whether new instances are significantly worse than the old ones.

Users of both are the same people at the same time, so what differs is the instances, or chance. A verdict counts only
beyond chance:

- *Failures.* The difference of the two shares is more than the margin at its lower bound: Newcombe's interval for a
  difference of proportions (1998, method 10), which joins two Wilson intervals and holds for few requests and few
  failures, also for none.
- *Response times.* The new ones' median, or their 90th percentile, is more than `slower` times the old ones': its
  lower bound against the other's upper one, both taken from the ranks of what was measured. Nothing is assumed about
  how times are spread, and one request of 30 s moves no rank by more than one.

The chance to call equals worse is at most `ALPHA` for all of a wave's comparisons together. The margins make it less
still: they would have to be jumped too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from deployer.agent.model.messages import balancer as wire
from deployer.plan.topology import Topology
from deployer.settings.models import Judge

ALPHA = 0.005
NOTICEABLE_MS = 10.0
"""Smaller differences are not noticeable, and balancers measure in milliseconds."""
_RANKS = (0.5, 0.9)
_FEWEST = 12
"""Of the new ones, for their times: what comes first to a process that has just started is no sample."""


@dataclass(frozen=True)
class RequestStats:
    """What came of requests: `failed` were answered with 500 or more, `lost` not at all; `times` in ms → how many."""

    requests: int = 0
    failed: int = 0
    lost: int = 0
    times: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, data: wire.RequestStats) -> RequestStats:
        """From one server's entry of `figures.read`."""
        times = {int(took): count for took, count in data["times"].items()}
        return cls(data["requests"], data["failed"], data["lost"], times)

    def __add__(self, other: RequestStats) -> RequestStats:
        times = dict(self.times)
        for took, count in other.times.items():
            times[took] = times.get(took, 0) + count
        return RequestStats(
            self.requests + other.requests,
            self.failed + other.failed,
            self.lost + other.lost,
            dict(sorted(times.items())),
        )

    @property
    def bad(self) -> int:
        """The requests that users saw fail."""
        return self.failed + self.lost

    def at(self, share: float) -> float | None:
        """Return the time (ms) that this share of the answers had at most; None without any."""
        count = sum(self.times.values())
        return self._ranked(max(1, math.ceil(share * count))) if count else None

    def between(self, share: float, z: float) -> tuple[float, float]:
        """Bounds of that time as it really is, each wrong with the chance that `z` stands for; 0 and infinity: none."""
        count = sum(self.times.values())
        spread = z * math.sqrt(count * share * (1 - share))
        low, high = math.floor(count * share - spread), math.ceil(count * share + spread) + 1
        return (self._ranked(low) if low >= 1 else 0.0), (self._ranked(high) if high <= count else math.inf)

    def _ranked(self, rank: int) -> float:
        for took, count in sorted(self.times.items()):
            rank -= count
            if rank <= 0:
                return float(took)
        return math.inf

    def as_json(self) -> dict[str, Any]:
        """Return the figures as an event has them."""
        shown = {"requests": self.requests, "failed": self.failed, "lost": self.lost}
        return shown | {"p50_ms": self.at(0.5), "p90_ms": self.at(0.9)}

    def __str__(self) -> str:
        median = self.at(0.5)
        shown = f"{self.bad} of {self.requests} requests failed"
        return shown if median is None else f"{shown}, half of the answers within {median:.0f} ms"


def judge_of(topology: Topology) -> Judge | None:
    """Return the margins of a run's judge; None where there is none."""
    rolling = topology.settings.rolling
    if rolling.judge == "off" or rolling.soak <= 0 or not topology.balancers or topology.why_no_figures:
        return None
    return rolling.judge


def describe_judging(topology: Topology) -> str:
    """Return one line for the plan on how waves are judged; empty without balancers."""
    rolling, margins = topology.settings.rolling, judge_of(topology)
    if margins:
        slower = f", or {margins.slower} the time" if margins.slow_factor else ""
        return (
            f"{margins.errors} more failures than the others{slower}, by {topology.kind}'s own figures,"
            f" fail a wave (from {margins.min_requests} requests on each side)"
        )
    if not topology.balancers:
        return ""
    asked_not_to = (
        "as rolling.judge is set" if rolling.judge == "off" else "rolling.soak is 0" if rolling.soak <= 0 else ""
    )
    return f"waves are not judged by figures: {asked_not_to or topology.why_no_figures}"


def worse(new: RequestStats, old: RequestStats, margins: Judge, *, comparisons: int = 1) -> str:
    """In what the new instances are worse than the old, beyond chance and the margins, in words; empty: in nothing.

    `comparisons` are all that a verdict is drawn from, of which this is one. Nothing is said about too few requests. Of
    times fewer of the new ones are enough: balancers send less to who is slow.
    """
    z = NormalDist().inv_cdf(1 - ALPHA / comparisons)
    if enough(new, old, margins) and more_fail(new, old, z) > margins.error_margin:
        return f"{_percent(new)} of its requests fail, and {_percent(old)} of the others'"
    factor = margins.slow_factor
    if factor is None or old.requests < margins.min_requests or new.requests < _FEWEST:
        return ""
    z_per_rank = NormalDist().inv_cdf(1 - ALPHA / comparisons / (2 * len(_RANKS)))
    for share in _RANKS:
        low, high = new.between(share, z_per_rank)[0], old.between(share, z_per_rank)[1]
        if low > high * factor and low > high + NOTICEABLE_MS:
            words = "half" if share == 0.5 else f"{share:.0%}"
            return (
                f"{words} of its answers take up to {new.at(share):.0f} ms, and of the others' {old.at(share):.0f} ms"
            )
    return ""


def enough(new: RequestStats, old: RequestStats, margins: Judge) -> bool:
    """Return whether there were requests enough on both sides to tell anything of failures."""
    return min(new.requests, old.requests) >= margins.min_requests


def more_fail(new: RequestStats, old: RequestStats, z: float) -> float:
    """By how much the share of failed requests grew, at the least: the lower bound of the difference at `z`."""
    (low, _), (_, high) = wilson(new.bad, new.requests, z), wilson(old.bad, old.requests, z)
    new_share, old_share = new.bad / new.requests, old.bad / old.requests
    return new_share - old_share - math.sqrt((new_share - low) ** 2 + (high - old_share) ** 2)


def wilson(count: int, of: int, z: float) -> tuple[float, float]:
    """Wilson's interval for a share: `count` of `of` (at least 1), each bound at `z`."""
    share, square = count / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = z / (1 + square / of) * math.sqrt(share * (1 - share) / of + square / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def _percent(figures: RequestStats) -> str:
    return f"{100 * figures.bad / figures.requests:.1f} %"
