"""The probe's own book-keeping: every request is counted once and leaves one line in the log."""

from __future__ import annotations

import json
import time
from array import array
from collections import Counter
from typing import IO, Any

from deployer.probe.http.failure import FailedRequest
from deployer.probe.proven import ProvenReleases
from deployer.probe.receipt import Failure, Receipt

_KEPT_FAILURES = 100


class Tally:
    """Counts requests and writes JSON lines to `log`.

    Lines are `{"ts", "kind", "ms", "release", "ok"}`, with `"cause"` and `"what"` where ok is false;
    `{"ts", "kind", "stale": why}`, `{"ts", "kind", "told": code}` and `{"ts", "mark": label}`.
    """

    def __init__(self, log: IO[str] | None = None, proven: ProvenReleases | None = None) -> None:
        self._log = log
        self._proven = proven
        self._began = time.monotonic()
        self._latencies = array("d")
        self._requests: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._causes: Counter[str] = Counter()
        self._releases: Counter[str] = Counter()
        self._failures: list[Failure] = []
        self._stale = 0
        self._reconnects = 0

    @property
    def requests(self) -> int:
        """All requests so far, failed ones included."""
        return self._requests.total()

    def answered(self, kind: str, elapsed_s: float, asked_s: float, release: str) -> None:
        """A whole, right answer by `release`, after `elapsed_s` seconds of which the request asked for `asked_s`."""
        self._releases[release] += 1
        if self._proven is not None and release not in self._proven:
            self._count_failed(
                kind, elapsed_s, FailedRequest("unproven", f"answered by {release or 'nobody'}", release)
            )
            return
        self._requests[kind] += 1
        self._latencies.append(max(0.0, elapsed_s - asked_s) * 1000)
        self._write(kind=kind, ms=round(elapsed_s * 1000, 2), release=release, ok=True)

    def failed(self, kind: str, elapsed_s: float, failed: FailedRequest) -> None:
        """A request that failed after `elapsed_s` seconds."""
        if failed.release:
            self._releases[failed.release] += 1
        self._count_failed(kind, elapsed_s, failed)

    def stale(self, kind: str, why: str) -> None:
        """An idle keep-alive connection was closed; the request is about to be repeated."""
        self._stale += 1
        self._write(kind=kind, stale=why)

    def count_reconnect(self, kind: str, code: int) -> None:
        """A websocket was closed with a code that asks to reconnect."""
        self._reconnects += 1
        self._write(kind=kind, told=code)

    def mark(self, label: str) -> None:
        """Notes in the log that something happened now (`wave 2 begins`)."""
        self._write(mark=label)

    def receipt(self) -> Receipt:
        """Everything so far."""
        sorted_ms = sorted(self._latencies)
        kinds = {kind: {"requests": self._requests[kind], "failed": self._failed[kind]} for kind in self._requests}
        return Receipt(
            requests=self.requests,
            failed=self._failed.total(),
            stale=self._stale,
            told=self._reconnects,
            p50_ms=_percentile(sorted_ms, 0.50),
            p99_ms=_percentile(sorted_ms, 0.99),
            max_ms=_percentile(sorted_ms, 1.0),
            seconds=round(time.monotonic() - self._began, 3),
            kinds=kinds,
            causes=dict(self._causes),
            releases=dict(self._releases),
            failures=tuple(self._failures),
        )

    def _count_failed(self, kind: str, elapsed_s: float, failed: FailedRequest) -> None:
        self._requests[kind] += 1
        self._failed[kind] += 1
        self._causes[failed.cause] += 1
        self._latencies.append(elapsed_s * 1000)
        what = str(failed)
        if len(self._failures) < _KEPT_FAILURES:
            self._failures.append(Failure(round(time.time(), 3), kind, what))
        ms = round(elapsed_s * 1000, 2)
        self._write(kind=kind, ms=ms, release=failed.release, ok=False, cause=failed.cause, what=what)

    def _write(self, **fields: Any) -> None:
        if self._log is not None:
            self._log.write(json.dumps({"ts": round(time.time(), 4), **fields}) + "\n")


def _percentile(sorted_values: list[float], share: float) -> float:
    if not sorted_values:
        return 0.0
    return round(sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))], 2)
