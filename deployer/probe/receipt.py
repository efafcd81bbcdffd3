"""What the probe saw, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Failure:
    """One failed request: when it ended (seconds since the epoch), its kind, `cause: detail`."""

    ts: float
    kind: str
    what: str


@dataclass(frozen=True)
class Receipt:
    """Counts and latencies of all requests so far.

    `stale` are idle keep-alive connections that were closed (the request was then repeated on a new one); `told` are
    websockets closed with 1001 or 1012, which reconnected. Latencies are milliseconds beyond what a request itself
    asks for (2 s of `slow`, 1 s of `stream`). `kinds` maps a kind to its requests and failed; `causes` counts failures
    by cause; `releases` counts answers by release; `failures` are the first 100. `seconds` is how long it ran.
    """

    requests: int
    failed: int
    stale: int
    told: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    seconds: float
    kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    causes: Mapping[str, int] = field(default_factory=dict)
    releases: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The `probe` object of the JSON contract, with everything else that is known."""
        return dataclasses.asdict(self) | {"failures": [dataclasses.asdict(failure) for failure in self.failures]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Receipt:
        """The receipt that `as_json` described."""
        failures = tuple(Failure(**failure) for failure in data["failures"])
        return cls(**{**data, "failures": failures})
