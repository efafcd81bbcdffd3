"""The canary's judge: during each soak, what the balancers saw of the new instances beside what they saw of the old.

Where nobody serves the old release any more, or too few asked there, the new ones are measured against what the old
ones did in this run before, from two minutes before its first wave on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from deployer.agent.model.messages import balancer as wire
from deployer.balancers.base import first_name
from deployer.errors import RolloutError
from deployer.events import WaveJudged
from deployer.plan.model import InstanceStep, Plan
from deployer.plan.rolling.judging import RequestStats, enough, judge_of, worse
from deployer.remote.errors import AgentError
from deployer.rollout.run.run import Run
from deployer.settings.models import Judge

BEFORE_S = 120.0
"""How long before the first wave a request may have ended to count for the old instances."""
AHEAD_S = 900.0
"""For how long a balancer is asked to keep figures, beyond the soak: a wave has come to its end by then."""


class Canary:
    """Judges a run's waves. Every call is a quick no where nothing is to be judged."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._margins = judge_of(run.topology) if plan.waves and plan.previous else None
        self._soak = run.topology.settings.rolling.soak
        self._drivers = run.topology.drivers if self._margins else {}
        # Those that serve the release already are neither new nor old.
        there = [*plan.kept, *(step for step in plan.steps if step.action == "settle")]
        self._changed = {self._name(step) for step in there}
        self._before: RequestStats | None = None
        self._began = time.monotonic()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """The balancers keep figures while the block runs."""
        if self._margins:
            self._read(0.0)
        try:
            yield
        finally:
            if self._margins:
                over = self._request(last=0.0, ahead=0.0)
                self._run.try_on_hosts(self._run.balancers, wire.STATS, over, step="judge")

    def look_before(self, steps: Sequence[InstanceStep]) -> None:
        """What the old instances did, as long as all of them serve: called when a wave is about to be admitted."""
        if self._margins and self._before is None:
            self._before = self._others(self._read(BEFORE_S + time.monotonic() - self._began))

    def judge(self, steps: Sequence[InstanceStep], release: str) -> None:
        """Raises RolloutError when the wave's instances are worse than the old ones by more than the margins."""
        margins, names = self._margins, [self._name(step) for step in steps]
        self._changed.update(names)
        if margins is None or self._run.stop.is_set() or not steps:
            return
        instances = ", ".join(step.name for step in steps)
        with self._run.step("judge", instance=instances) as note:
            stats = self._read(self._soak)
            if self._margins is None:
                return
            wave_stats = {step.name: stats.get(name, RequestStats()) for step, name in zip(steps, names, strict=True)}
            new, old, when = sum(wave_stats.values(), RequestStats()), self._others(stats), "meanwhile"
            before = (self._before or RequestStats()) + old
            if old.requests < margins.min_requests and before.requests >= margins.min_requests:
                old, when = before, "before"
            self._before = before
            why, where = self._verdict(wave_stats, new, old, margins)
            note.detail = why or _summary(new, old, when, margins)
            self._run.bus.emit(
                WaveJudged(
                    instances=tuple(wave_stats),
                    ok=not why,
                    enough=enough(new, old, margins),
                    compared=when,
                    why=why,
                    new={name: figures.as_json() for name, figures in wave_stats.items()},
                    old=old.as_json(),
                    margins=margins.model_dump(),
                )
            )
            if why:
                self._changed.difference_update(names)  # they go back, and may count among the old for later waves
                raise self._worse(where or instances, why, _shown(new, old, when, margins), margins, steps)

    def _verdict(
        self, wave_stats: Mapping[str, RequestStats], new: RequestStats, old: RequestStats, margins: Judge
    ) -> tuple[str, str]:
        """In what the wave is worse, and which instance where it is one of several; empty words where it is not."""
        alone = wave_stats if len(wave_stats) > 1 else {}
        comparisons = 1 + len(alone)
        for name, figures in alone.items():
            why = worse(figures, old, margins, comparisons=comparisons)
            if why:
                return why, name
        return worse(new, old, margins, comparisons=comparisons), ""

    def _worse(self, where: str, why: str, figures: str, margins: Judge, steps: Sequence[InstanceStep]) -> RolloutError:
        slower = f", and {margins.slower} the time" if margins.slow_factor else ""
        hosts = {step.host for step in steps}
        return RolloutError(
            f"{where} serves worse than the previous release: {why}",
            host=hosts.pop() if len(hosts) == 1 else None,
            step="judge",
            cause=f"{figures}; rolling.judge lets {margins.errors} more of them fail{slower}",
            hint=f"deploy logs {self._run.topology.env} shows why; mend it, or widen rolling.judge if it is "
            "meant to be so, then type deploy {command} {env}",
            code="worse",
        )

    def _others(self, stats: Mapping[str, RequestStats]) -> RequestStats:
        return sum((figures for name, figures in stats.items() if name not in self._changed), RequestStats())

    def _read(self, last: float) -> dict[str, RequestStats]:
        """All balancers' figures by server. Where they cannot be had the wave is not judged, which is said."""
        request = self._request(last=last, ahead=AHEAD_S + self._soak)
        try:
            answers = self._run.run_on_hosts(self._run.balancers, wire.STATS, request, step="judge")
        except AgentError as error:
            self._margins = None
            self._run.warn(f"waves are not judged: {error.message}", host=error.host or "", hint=error.hint or "")
            return {}
        stats: dict[str, RequestStats] = {}
        for answer in answers.values():
            for name, data in answer["servers"].items():
                slot = first_name(name)
                stats[slot] = stats.get(slot, RequestStats()) + RequestStats.of(data)
        return stats

    def _request(self, *, last: float, ahead: float) -> Callable[[str], wire.ReadStats]:
        return lambda host: wire.ReadStats(
            site=self._run.site(host), driver=self._drivers[host], last=last, ahead=ahead
        )

    def _name(self, step: InstanceStep) -> str:
        return self._run.topology.server(step.host, step.port)


def _summary(new: RequestStats, old: RequestStats, when: str, margins: Judge) -> str:
    """What the judge's step says: short where there were too few requests to tell."""
    if enough(new, old, margins):
        return _shown(new, old, when, margins)
    return f"too few requests to judge failures: {new.requests} and {old.requests} of {margins.min_requests} each"


def _shown(new: RequestStats, old: RequestStats, when: str, margins: Judge) -> str:
    comparison = f"{new}; of the others {when} {old}"
    if enough(new, old, margins):
        return comparison
    return f"failures are not judged, {margins.min_requests} requests on each side are needed: {comparison}"
