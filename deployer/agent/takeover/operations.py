"""Taking over what another tool runs: a foreign unit at a port of the app, and the foreign frontends that lead to it.

    recorded ─→ (ours serve beside it) ─→ moving ─→ moved        on a balancer: its configuration leads to our pool
    recorded ─→ (nobody is connected)  ─→ retiring ─→ retired    on an app's host: the unit is stopped and disabled

A person allows it once (`adopting.record`, after the diff was shown). Each state is on the disk before its act, and
each act converges from whatever a crash left. No file of the unit is removed; the configuration of before is kept.
"""

from __future__ import annotations

import os
import stat
import time

from deployer.agent.model.layout import Site
from deployer.agent.model.messages import takeover as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger
from deployer.agent.site.lock import host_lock
from deployer.agent.system import files, process_runner, procfs
from deployer.agent.takeover import foreign_units, frontends
from deployer.agent.takeover import record as adoption_record
from deployer.agent.takeover.frontend import Rewrite, Unsupported

_NOTHING: wire.Adoption = {"units": [], "front": None}
_HANDLER = 120.0  # seconds for the check and the reload
_LOOK = 0.1  # seconds between looks at connections
_QUIET = 10  # looks in a row that must find nobody connected


@operation(wire.UNITS)
def units(ctx: Context, request: wire.FindUnits) -> wire.UnitsFound:
    """Finds units and programs of another tool that listen at the ports. See `foreign_units.at`."""
    return {"units": foreign_units.at(Site.of(request), [int(port) for port in request["ports"]])}


@operation(wire.FRONT)
def look(ctx: Context, request: wire.FindFront) -> wire.FrontFound:
    """Finds how the frontends of another tool would be led to `backend`; changes nothing."""
    path, led = str(request["path"]), False
    kind, places, backend = _about(request)
    try:
        led = frontends.leads(kind, path, backend)
        path, rewrite = frontends.locate(kind, path, places, backend)
    except (Unsupported, OSError) as error:
        none = f"there is no {path}; `balancer.kind` says what leads users to the app"
        why = none if isinstance(error, FileNotFoundError) else str(error)
        return {"path": path, "diff": "", "backends": [], "led": led, "why": why}
    why = f"{path}: nothing there sends to {', '.join(rewrite.missing)}" if rewrite.missing else ""
    return {"path": path, "diff": rewrite.diff, "backends": list(rewrite.backends), "led": led, "why": why}


@operation(wire.RECORD)
def record(ctx: Context, request: wire.RecordAdoption) -> wire.AdoptionRecorded:
    """Writes down what a person has allowed, and changes nothing else.

    What was allowed before stays, unless it is among these.
    """
    site = Site.of(request)
    kept = adoption_record.read(site) or _NOTHING
    run, who, since = request["run"], request["who"], round(time.time(), 3)
    fresh: list[wire.RecordedUnit] = [
        {**unit, "run": run, "who": who, "since": since, "state": "recorded"} for unit in request.get("units") or ()
    ]
    others = [unit for unit in kept["units"] if unit["unit"] not in {fresh_unit["unit"] for fresh_unit in fresh}]
    entry: wire.Adoption = {"units": fresh + others, "front": kept["front"]}
    front = request.get("front")
    if front:
        entry["front"] = {**front, "run": run, "who": who, "since": since, "state": "recorded"}
    adoption_record.write(site, entry)
    return {"adoption": entry}


@operation(wire.MOVE)
def move(ctx: Context, request: wire.MoveFront) -> wire.FrontMoved:
    """Leads the foreign frontends to the app's pool, as was allowed.

    Raises:
        OpError: `changed` (the file differs from the one that the diff was made of), `invalid` (the balancer refuses
            the new file) and `host_busy` leave all as it was. `unsettled`: the balancer refuses the earlier file too.
    """
    site = Site.of(request)
    with host_lock(site):
        adoption = adoption_record.read(site) or _NOTHING
        front = adoption["front"]
        if not front or front["state"] == "moved":
            return {"changed": False}
        path, before = str(front["path"]), frontends.read(str(front["path"]))
        try:
            after = _led(front, before)
        except Unsupported as error:
            raise _changed(path, site, str(error)) from error
        if after.diff and after.diff != front["diff"]:
            raise _changed(path, site, "other lines would have to be changed now")
        if after.diff:
            files.write(site.front_before, frontends.encoded(before), 0o600)
            _note(site, adoption, front, "moving")
            ctx.progress(f"leading {path} to {front['backend']}")
            _write(path, after.text)
        elif front["state"] == "recorded":  # a person has moved it meanwhile
            _note(site, adoption, front, "moving")
        failure = _made_live(request["handler"])
        if failure is not None:
            # A reload that came too late for its handler may have taken the file up: the old one is loaded again.
            if not _put_back(site, path, front) or _made_live(request["handler"]) is not None:
                why = f"{path}: the balancer does not take it, nor what was there before: {failure.why}"
                raise OpError(
                    "unsettled", why, "look at its log on that host, then type deploy push {env}", log=failure.log()
                )
            _note(site, adoption, front, "recorded")
            why = f"{path}: the balancer does not take it: {failure.why}; all is as it was"
            raise OpError("invalid", why, log=failure.log())
        _note(site, adoption, front, "moved")
    ledger.append(site, {"run": request["run"], "event": "adopt", "what": f"led {path} to {front['backend']}"})
    return {"changed": True}


@operation(wire.RETIRE)
def retire(ctx: Context, request: wire.RetireUnits) -> wire.UnitsRetired:
    """Stops and disables the foreign units once nobody is connected to them.

    Raises:
        OpError: `did_not_stop`, `lease_lost`, `cancelled`.
    """
    site = Site.of(request)
    adoption = adoption_record.read(site) or _NOTHING
    retired: list[str] = []
    busy: dict[str, int] = {}
    for unit in adoption["units"]:
        if unit["state"] == "retired":
            continue
        left = _connected(ctx, unit["ports"], float(request["patience"]))
        if left:
            busy[unit["unit"]] = left
            continue
        ctx.require_lease(f"stop {unit['unit']}")
        _note(site, adoption, unit, "retiring")
        ctx.progress(f"stopping and disabling {unit['unit']}")
        foreign_units.stop_for_good(unit)
        _note(site, adoption, unit, "retired")
        ledger.append(site, {"run": request["run"], "event": "adopt", "what": f"stopped and disabled {unit['unit']}"})
        retired.append(unit["unit"])
    return {"retired": retired, "busy": busy}


def _connected(ctx: Context, ports: list[int], patience: float) -> int:
    """Connections to these ports here, once there are none for a moment, or `patience` seconds have passed."""
    deadline, quiet = time.monotonic() + patience, 0
    while True:
        if ctx.cancelled.is_set():
            raise OpError("cancelled", "the run was cancelled before the server at port %d was stopped" % ports[0])
        left = procfs.connections_to(ports)
        quiet = 0 if left else quiet + 1
        if quiet >= _QUIET:
            return 0
        if left and time.monotonic() >= deadline:
            return left
        time.sleep(_LOOK)


def _about(front: wire.FindFront | wire.ForeignFront) -> tuple[str, dict[str, str], str]:
    """Kind, places and backend of a frontend that is to be led."""
    return str(front.get("kind", "haproxy")), front["places"], front["backend"]


def _led(front: wire.ForeignFront, text: str) -> Rewrite:
    kind, places, backend = _about(front)
    return frontends.moved(kind, text, places, backend)


def _write(path: str, text: str) -> None:
    """Replaces the file's content whole, through a link, with the rights and owner that it has."""
    real = os.path.realpath(path)
    about = os.stat(real)
    files.write(real, frontends.encoded(text), stat.S_IMODE(about.st_mode), (about.st_uid, about.st_gid))


def _made_live(handler: list[list[str]]) -> process_runner.Finished | None:
    """Runs the handler's commands; the first that failed, None when all went well."""
    for command in handler:
        result = process_runner.run(command, timeout=_HANDLER, merge_stderr=True)
        if not result.ok:
            return result
    return None


def _put_back(site: Site, path: str, front: wire.ForeignFront) -> bool:
    """The configuration as it was before it was led elsewhere; False where somebody has changed it since."""
    try:
        before = frontends.read(site.front_before)
        after = _led(front, before)
    except (OSError, Unsupported):
        return False
    now = frontends.read(path)
    if now == after.text:
        _write(path, before)
    return now in (before, after.text)


def _note(site: Site, whole: wire.Adoption, part: wire.RecordedUnit | wire.RecordedFront, state: str) -> None:
    part["state"] = state
    adoption_record.write(site, whole)


def _changed(path: str, site: Site, why: str) -> OpError:
    message = f"{path} is not as it was when its diff was shown: {why}"
    return OpError("changed", message, f"deploy setup {site.env} --replace shows it anew")
