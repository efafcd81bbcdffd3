"""Users' traffic beside a run, from a process of its own, and the receipt of what it saw: which failures, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from deployer import probe
from deployer.errors import DeployError, RolloutError
from deployer.events import Event, StepFinished, StepStarted
from deployer.plan.model import InstanceStep, Plan
from deployer.probe import Prober, Receipt
from deployer.rollout.run.run import Run
from deployer.rollout.traffic.maintenance_page import closed, maintenance_text
from deployer.rollout.traffic.probe_url import describe_answer, serves, wait_for_answer


@dataclass(frozen=True)
class Change:
    """An instance was in a step from `began` to `ended` (seconds since the epoch; None: it still is)."""

    instance: str
    step: str
    began: float
    ended: float | None = None


class Changes:
    """Listens to a run: which instance was changing at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], Change] = {}
        self._ended: list[Change] = []

    def __call__(self, event: Event) -> None:
        """Takes an event in."""
        if isinstance(event, StepStarted) and event.instance:
            with self._lock:
                self._open[event.instance, event.step] = Change(event.instance, event.step, event.ts)
        elif isinstance(event, StepFinished) and event.instance:
            with self._lock:
                change = self._open.pop((event.instance, event.step), None)
                if change is not None:
                    self._ended.append(Change(change.instance, change.step, change.began, event.ts))

    def at(self, moment: float, before: float = 0.0) -> list[str]:
        """`web1:0 switch` for what was under way at a moment, or within `before` seconds up to it."""
        with self._lock:
            changes = [*self._ended, *self._open.values()]
        return [
            f"{change.instance} {change.step}"
            for change in changes
            if change.began <= moment and (change.ended is None or change.ended >= moment - before)
        ]


class Watch:
    """What a run asks of its probe. Without one, every call is a quick no.

    `later`, where nobody served before the run, makes the probe once its first wave does.
    """

    def __init__(self, prober: Prober | None, most: int, later: Callable[[], Prober | None] | None = None) -> None:
        self.prober = prober
        self._most = most
        self._later = later
        self._before = self._failed()

    def begin(self) -> None:
        """From now on failures are the run's: what failed before it changed anything is not."""
        self._before = self._failed()

    def require_few(self, steps: Sequence[InstanceStep] = (), release: str = "") -> None:
        """RolloutError when more requests failed since `begin` than `max_failed` lets."""
        if self._later is not None:
            later, self._later = self._later, None
            self.prober = later()
            self.begin()
        failed = self._failed() - self._before
        if failed > self._most:
            raise RolloutError(
                f"{failed} requests of the probe failed, and rolling.probe lets {self._most} fail",
                step="probe",
                hint="the receipt lists them, and what was changing at that moment",
                code="probe_failed",
            )

    def _failed(self) -> int:
        return self.prober.snapshot().failed if self.prober else 0


@contextmanager
def probe_traffic(run: Run, plan: Plan) -> Iterator[Watch]:
    """Traffic as `rolling.probe` says, while the block runs; its receipt becomes the record's, however the block ends.

    Its URL has answered (`require_answer`). Where nobody serves yet it is asked here, and if that is too early, again
    after the first wave; a run whose URL does not answer then goes on without a probe, and says so.

    Raises UsageError for a URL that is none; DeployError when the probe itself dies.
    """
    wanted = run.topology.settings.rolling.probe
    if wanted is not None and (maintenance_records := closed(run)):
        run.warn(f"the probe is left out: {maintenance_text(next(iter(maintenance_records.values())))}")
        wanted = None
    if wanted is None:
        yield Watch(None, 0)
        return
    url, rate, changes = wanted.url, wanted.rate, Changes()
    run.bus.subscribe(changes)
    with ExitStack() as started:

        def start() -> Prober:
            return started.enter_context(probe.start(url, rate=rate, mix="found"))

        def later() -> Prober | None:
            answer = wait_for_answer(run, url)
            if answer.good:
                return start()
            run.warn(f"the probe is left out: {describe_answer(url, answer)}{answer.why and f': {answer.why}'}")
            return None

        early = serves(plan) or probe.ask(url).good
        watch = Watch(start(), wanted.max_failed) if early else Watch(None, wanted.max_failed, later)
        try:
            yield watch
        finally:
            if watch.prober is not None:
                with suppress(DeployError):
                    run.record.probe = receipt_data(watch.prober.stop(), changes)


def receipt_data(receipt: Receipt, changes: Changes) -> dict[str, Any]:
    """The receipt as `run.finished` has it: each failure with what was changing at that moment."""
    data = receipt.as_json()
    for failure in data["failures"]:
        failure["during"] = changes.at(float(failure["ts"]), before=2.0)
        failure["at"] = time.strftime("%H:%M:%S", time.gmtime(float(failure["ts"])))
    return data
