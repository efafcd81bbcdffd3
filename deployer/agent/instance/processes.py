"""Operations on processes: supervised commands beside the instances, without a port.

    stop (with its own time limit) ─→ link ─→ start ─→ proven: it lives, in its release, for `steady` seconds

A process that fails is brought back to the release it had. Every change is in the ledger before it is made.
"""

from __future__ import annotations

import os
import time

from deployer.agent.instance.unit import Unit
from deployer.agent.model.layout import COMMANDS, Site
from deployer.agent.model.messages import instances as wire
from deployer.agent.model.supervision import Process
from deployer.agent.model.typed import Wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links, secrets
from deployer.agent.system import port_owners, procfs

LOG_LINES = 30
_GRACE = 10.0  # seconds that a supervisor may take to name the process it has just started
_TICK = 0.1


def _longest(process: Wire[Process]) -> float:
    """Seconds that the process may take to stop, and to start."""
    return Process.from_wire(process).graceful + 35.0


@operation(wire.SWITCH_PROCESS, longest=lambda request: 2 * _longest(request["process"]))
def switch(ctx: Context, request: wire.SwitchProcess) -> wire.ProcessSwitched:
    """Brings one process to a release, and back to the one it had when that fails.

    Raises:
        OpError: `did_not_stop`, `did_not_start`, `lease_lost`, `cancelled`, `incomplete`; detail: `restored`,
            `serving`.
    """
    move = _Move(ctx, Site.of(request), str(request["run"]), Process.from_wire(request["process"]))
    return move.to(str(request["release"]), str(request.get("via") or "push"))


@operation(wire.STOP_PROCESS, longest=lambda request: _longest(request["process"]))
def stop(ctx: Context, request: wire.StopProcess) -> wire.Stopped:
    """Stops one process for good.

    Raises:
        OpError: `did_not_stop`, `lease_lost`, `cancelled`.
    """
    return _Move(ctx, Site.of(request), str(request["run"]), Process.from_wire(request["process"])).away()


@operation(wire.PROCESSES)
def state(ctx: Context, request: wire.LookAtProcesses) -> wire.ProcessStates:
    """Looks once at processes; changes nothing."""
    site = Site.of(request)
    processes = [Process.from_wire(data) for data in request["processes"]]
    return {"processes": {process.label: _state(site, process) for process in processes}}


class _Move:
    """One change of one process."""

    def __init__(self, ctx: Context, site: Site, run: str, process: Process) -> None:
        self._ctx = ctx
        self._site = site
        self._run = run
        self._process = process
        self._unit = Unit(process)
        self._previous = links.release_at(site.process(process.label))

    def to(self, release: str, via: str) -> wire.ProcessSwitched:
        began = time.monotonic()
        links.require_complete(self._site, release)
        if not self._has(release):
            return {"pid": 0, "seconds": 0.0, "changed": self.away()["stopped"]}
        current_state = _state(self._site, self._process)
        if via != "reload" and current_state["running"] and current_state["release"] == release:
            return {"pid": current_state["pid"] or 0, "seconds": 0.0, "changed": False}
        self._begin(release)
        before = self._unit.log(LOG_LINES)
        try:
            self._stop()
            pid = self._start(release)
        except Exception as failure:  # whatever it was: it is down, so the release that it had must come back
            raise self._undone(release, failure, before) from failure
        self._note(release, "outcome", ok=True, why="")
        return {"pid": pid, "seconds": round(time.monotonic() - began, 3), "changed": True}

    def away(self) -> wire.Stopped:
        """It is stopped, its link removed, and it stays down at the next boot."""
        main = self._unit.main()
        if not main and self._previous is None:
            return {"stopped": False}
        self._begin(None)
        try:
            self._stop()
        except OpError as failure:
            self._note(None, "outcome", ok=False, why=failure.message)
            raise
        links.drop_process(self._site, self._process.label)
        self._unit.disable()
        self._unit.reset()
        self._note(None, "outcome", ok=True, why="")
        return {"stopped": True}

    def _begin(self, release: str | None) -> None:
        """The last moment to turn back with nothing touched."""
        if self._ctx.cancelled.is_set():
            raise OpError("cancelled", f"the run was cancelled before {self._unit.name} was stopped")
        self._ctx.require_lease(f"stop {self._unit.name}")
        self._note(release, "intent")

    def _has(self, release: str) -> bool:
        return os.path.isfile(f"{self._site.release(release)}/{COMMANDS}/{self._process.name}")

    def _stop(self) -> None:
        main = self._unit.main()
        known = procfs.process(main) if main else None
        self._ctx.progress(f"stopping {self._unit.name}")
        deadline = time.monotonic() + self._unit.stop_bound
        result = self._unit.stop()
        while known is not None and procfs.alive(known):
            if time.monotonic() >= deadline or not (result.ok or result.timed_out):
                raise OpError(
                    "did_not_stop",
                    "%s did not stop within %g s: process %d is still there"
                    % (self._unit.name, self._unit.stop_bound, main),
                    "kill %d on that host, then type deploy {command} {env}" % main,
                    log=result.log(2),
                )
            time.sleep(_TICK)

    def _start(self, release: str) -> int:
        label = self._process.label
        enabled = self._unit.enable()
        if not enabled.ok:
            self._ctx.progress(f"{self._unit.name} will not start at boot: {enabled.why}")
        links.point_process(self._site, label, release)
        self._ctx.progress(f"starting {self._unit.name} with release {release}")
        self._unit.reset()
        result = self._unit.start(_GRACE + 20.0)
        if not result.ok:
            raise _failed(self._unit, release, "; ".join(result.log(2)) or result.why)
        return self._steady(release)

    def _steady(self, release: str) -> int:
        """The main process, once it has lived for `steady` seconds in the release and was not replaced."""
        deadline = time.monotonic() + _GRACE
        main, until = 0, 0.0
        while True:
            pid = self._unit.main()
            if main and pid != main:
                then = "was replaced by process %d" % pid if pid else "ended"
                raise _failed(self._unit, release, "its main process %d %s" % (main, then))
            if pid and not main and _release_of(self._site, pid) == release:
                main, until = pid, time.monotonic() + self._process.steady
            if main and time.monotonic() >= until:
                return main
            if not main and time.monotonic() >= deadline:
                raise _failed(self._unit, release, "it has no running process" if not pid else "it runs elsewhere")
            time.sleep(_TICK)

    def _undone(self, release: str, failure: Exception, before: list[str]) -> OpError:
        error = failure if isinstance(failure, OpError) else OpError("did_not_start", f"the host refused: {failure}")
        if not error.log:
            error.log = self._unit.log_since(before, LOG_LINES)
        self._ctx.progress(f"{self._unit.name}: {error.message}; going back")
        problem = ""
        try:
            self._stop()
            secrets.put_back(self._site)
            if self._previous is None:
                links.drop_process(self._site, self._process.label)
                self._unit.disable()
                self._unit.reset()
            else:
                links.require_complete(self._site, self._previous)
                self._start(self._previous)
        except (OpError, OSError) as second:
            problem = second.message if isinstance(second, OpError) else str(second)
            error.detail["undo"] = problem
        error.detail.update(restored=not problem, serving=None if problem else self._previous)
        self._note(release, "outcome", ok=False, why=error.message)
        return error

    def _note(self, release: str | None, event: str, *, ok: bool | None = None, why: str = "") -> None:
        entry: ledger.Entry = {
            "run": self._run,
            "event": event,
            "op": "process",
            "instance": self._process.label,
            "port": None,
            "release": release,
            "previous": self._previous,
        }
        ledger.append(self._site, entry if ok is None else {**entry, "ok": ok, "why": why})


def _state(site: Site, process: Process) -> wire.ProcessState:
    release = links.release_at(site.process(process.label))
    pid, why = _main(site, process, release)
    return {"release": release, "running": not why, "pid": pid, "why": why}


def _main(site: Site, process: Process, release: str | None) -> tuple[int, str]:
    """Its main process, and in plain words what keeps it from counting; empty when nothing does."""
    unit = Unit(process)
    if release is None:
        return 0, "it was never started here"
    pid = unit.main()
    if not pid:
        return 0, f"{unit.name} is not running"
    running_release = _release_of(site, pid)
    return pid, "" if running_release == release else "process %d runs in %s" % (pid, running_release or "no release")


def _release_of(site: Site, pid: int) -> str | None:
    """The release that a process runs in; one that went to another folder is known by what it was started with."""
    return port_owners.release_of(site, pid) or procfs.environment(pid).get("DEPLOY_RELEASE")


def _failed(unit: Unit, release: str, why: str) -> OpError:
    hint = "mend what its log says, then type deploy push {env}"
    return OpError("did_not_start", f"{unit.name} did not start with release {release}: {why}", hint)
