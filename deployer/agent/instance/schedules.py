"""Operations on schedules: commands of the app that their supervisor starts at times, in the release of their link.

What starts the runs (a timer, a line of cron) is constant and does nothing without the link. So a switch is one rename:
a run that is under way ends in the release it began with, and the next one begins in the new one.

The verb `state` of a schedule prints, of these lines, those that it knows:

    why=…        what keeps it from being started, in words; none when nothing does
    pid=N        the main process of a run that is under way
    next=N       seconds since the epoch, of the next run, as of `began` and `ended`: of the last one
    result=…     what came of the last run: `success`, or in words
"""

from __future__ import annotations

import os
import time
from typing import Any

from deployer.agent.instance.unit import Unit
from deployer.agent.model.layout import COMMANDS, Site
from deployer.agent.model.supervision import Schedule
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links

_START = 20.0  # seconds that a supervisor may take to take a timer in
_TICK = 0.2


@operation("schedules.switch")
def switch(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """From now on a schedule runs in a release. What it runs at this moment is left alone.

    Args:
        args: `site, run, schedule, release`.

    Returns:
        `changed`; `armed` False where that release has no such schedule: it is off then.

    Raises:
        OpError `not_armed`: its supervisor does not take it; it is as it was. `incomplete`, `lease_lost`, `cancelled`.
    """
    move = _Move(ctx, Site.from_args(args), str(args["run"]), Schedule.from_wire(args["schedule"]))
    return move.to(str(args["release"]))


@operation("schedules.stop")
def stop(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Starts no more runs of a schedule, and waits `wait` seconds for the one under way: `site, run, schedule, wait`.

    Returns `stopped` (False: there was nothing to stop), and `pid` of the run that has not ended yet, 0 when none has.
    OpError `lease_lost`, `cancelled`.
    """
    move = _Move(ctx, Site.from_args(args), str(args["run"]), Schedule.from_wire(args["schedule"]))
    return move.away(float(args.get("wait") or 0))


@operation("schedules.state")
def state(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Looks once: `site, schedules`.

    Returns `schedules`: `nightly` → `{release, why, pid, next, began, ended, result}`. `why` is what keeps it from
    being run in the release of its link, empty when nothing does. What is not known is null.
    """
    site = Site.from_args(args)
    schedules = [Schedule.from_wire(data) for data in args["schedules"]]
    return {"schedules": {schedule.name: _state(site, schedule) for schedule in schedules}}


class _Move:
    """One change of one schedule."""

    def __init__(self, ctx: Context, site: Site, run: str, schedule: Schedule) -> None:
        self._ctx = ctx
        self._site = site
        self._run = run
        self._schedule = schedule
        self._unit = Unit(schedule)
        self._previous = links.release_at(site.schedule(schedule.name))

    def to(self, release: str) -> dict[str, Any]:
        links.require_complete(self._site, release)
        if not os.path.isfile(f"{self._site.release(release)}/{COMMANDS}/{self._schedule.name}"):
            return {"changed": self.away(0.0)["stopped"], "armed": False}
        if self._previous == release and not _state(self._site, self._schedule)["why"]:
            return {"changed": False, "armed": True}
        self._begin(release)
        links.point_schedule(self._site, self._schedule.name, release)
        try:
            self._arm()
        except OpError as failure:
            if self._previous is None:
                self._disarm()
            else:
                links.point_schedule(self._site, self._schedule.name, self._previous)
            self._note(release, "outcome", ok=False, why=failure.message)
            raise
        self._note(release, "outcome", ok=True, why="")
        return {"changed": True, "armed": True}

    def away(self, wait: float) -> dict[str, Any]:
        if self._previous is not None:
            self._begin(None)
        stopped = self._previous is not None or bool(self._pid())
        self._disarm()
        pid = self._ended(wait)
        if not pid and any(self._is_mine(intent) for intent in ledger.open_intents(ledger.read(self._site))):
            self._unit.reset()
            self._note(None, "outcome", ok=True, why="")
        return {"stopped": stopped, "pid": pid}

    def _begin(self, release: str | None) -> None:
        """The last moment to turn back with nothing touched."""
        if self._ctx.cancelled.is_set():
            raise OpError("cancelled", f"the run was cancelled before {self._unit.name} was changed")
        self._ctx.require_lease("change " + self._unit.name)
        self._note(release, "intent")

    def _arm(self) -> None:
        for result in (self._unit.enable(), self._unit.start(_START)):
            if not result.ok:
                raise self._refused("; ".join(result.log(2)) or result.why)
        why = self._unit.state().get("why")
        if why:
            raise self._refused(why)

    def _disarm(self) -> None:
        """The link goes first: without it nothing starts, whatever the supervisor does."""
        links.drop_schedule(self._site, self._schedule.name)
        self._unit.disable()
        self._unit.stop()

    def _ended(self, wait: float) -> int:
        """0 once no run is under way; its process when it still is after `wait` seconds."""
        deadline = time.monotonic() + wait
        while True:
            pid = self._pid()
            if not pid or time.monotonic() >= deadline or self._ctx.cancelled.is_set():
                return pid
            time.sleep(_TICK)

    def _is_mine(self, entry: dict[str, Any]) -> bool:
        return (entry.get("op"), entry.get("instance")) == ("schedule", self._schedule.name)

    def _pid(self) -> int:
        return _number(self._unit.state().get("pid")) or 0

    def _refused(self, why: str) -> OpError:
        return OpError("not_armed", f"{self._unit.name} is not run at its times: {why}")

    def _note(self, release: str | None, event: str, **more: Any) -> None:
        entry = {"run": self._run, "event": event, "op": "schedule", "instance": self._schedule.name}
        ledger.append(self._site, {**entry, "port": None, "release": release, "previous": self._previous, **more})


def _state(site: Site, schedule: Schedule) -> dict[str, Any]:
    release = links.release_at(site.schedule(schedule.name))
    unit_state = Unit(schedule).state()
    why = "it was never started here" if release is None else unit_state.get("why") or ""
    times = {key: _number(unit_state.get(key)) for key in ("pid", "next", "began", "ended")}
    return {"release": release, "why": why, **times, "result": unit_state.get("result") or None}


def _number(text: str | None) -> int | None:
    return int(text) or None if text and text.isdigit() else None
