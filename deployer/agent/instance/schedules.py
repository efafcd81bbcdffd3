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
from typing import TYPE_CHECKING

from deployer.agent.instance.unit import Unit
from deployer.agent.model.layout import COMMANDS, Site
from deployer.agent.model.messages import instances as wire
from deployer.agent.model.supervision import Schedule
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links

if TYPE_CHECKING:
    from deployer.agent.model.messages.site import HalfDone

_START = 20.0  # seconds that a supervisor may take to take a timer in
_TICK = 0.2


@operation(wire.SWITCH_SCHEDULE)
def switch(ctx: Context, request: wire.SwitchSchedule) -> wire.ScheduleSwitched:
    """Makes a schedule run in a release from now on; what it runs at this moment is left alone.

    Raises:
        OpError: `not_armed` (its supervisor does not take it; it is as it was), `lease_lost`, `cancelled`,
            `incomplete`.
    """
    move = _Move(ctx, Site.of(request), str(request["run"]), Schedule.from_wire(request["schedule"]))
    return move.to(str(request["release"]))


@operation(wire.STOP_SCHEDULE)
def stop(ctx: Context, request: wire.StopSchedule) -> wire.ScheduleStopped:
    """Starts no more runs of a schedule, and waits for the one under way.

    Raises:
        OpError: `lease_lost`, `cancelled`.
    """
    move = _Move(ctx, Site.of(request), str(request["run"]), Schedule.from_wire(request["schedule"]))
    return move.away(float(request.get("wait") or 0))


@operation(wire.SCHEDULES)
def state(ctx: Context, request: wire.LookAtSchedules) -> wire.ScheduleStates:
    """Looks once at schedules; changes nothing."""
    site = Site.of(request)
    schedules = [Schedule.from_wire(data) for data in request["schedules"]]
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

    def to(self, release: str) -> wire.ScheduleSwitched:
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

    def away(self, wait: float) -> wire.ScheduleStopped:
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

    def _is_mine(self, entry: HalfDone) -> bool:
        return (entry.get("op"), entry.get("instance")) == ("schedule", self._schedule.name)

    def _pid(self) -> int:
        return _number(self._unit.state().get("pid")) or 0

    def _refused(self, why: str) -> OpError:
        return OpError("not_armed", f"{self._unit.name} is not run at its times: {why}")

    def _note(self, release: str | None, event: str, *, ok: bool | None = None, why: str = "") -> None:
        entry: ledger.Entry = {
            "run": self._run,
            "event": event,
            "op": "schedule",
            "instance": self._schedule.name,
            "port": None,
            "release": release,
            "previous": self._previous,
        }
        ledger.append(self._site, entry if ok is None else {**entry, "ok": ok, "why": why})


def _state(site: Site, schedule: Schedule) -> wire.ScheduleState:
    release = links.release_at(site.schedule(schedule.name))
    unit_state = Unit(schedule).state()
    why = "it was never started here" if release is None else unit_state.get("why") or ""
    return {
        "release": release,
        "why": why,
        "pid": _number(unit_state.get("pid")),
        "next": _number(unit_state.get("next")),
        "began": _number(unit_state.get("began")),
        "ended": _number(unit_state.get("ended")),
        "result": unit_state.get("result") or None,
    }


def _number(text: str | None) -> int | None:
    return int(text) or None if text and text.isdigit() else None
