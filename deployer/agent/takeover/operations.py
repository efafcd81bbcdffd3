"""Taking over what another tool runs: a foreign unit at a port of the app, and the foreign frontends that lead to it.

    recorded ─→ (ours serve beside it) ─→ moving ─→ moved        on a balancer: its configuration leads to our pool
    recorded ─→ (nobody is connected)  ─→ retiring ─→ retired    on an app's host: the unit is stopped and disabled

A person allows it once (`adopting.record`, after the diff was shown). Each state is on the disk before its act, and
each act converges from whatever a crash left. No file of the unit is removed; the configuration of before is kept.
"""

from __future__ import annotations

import json
import os
import stat
import time
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger
from deployer.agent.site.lock import host_lock
from deployer.agent.system import files, process_runner, procfs
from deployer.agent.takeover import foreign_units, frontends
from deployer.agent.takeover.frontend import Rewrite, Unsupported

_HANDLER = 120.0  # seconds for the check and the reload
_LOOK = 0.1  # seconds between looks at connections
_QUIET = 10  # looks in a row that must find nobody connected


@operation("adopting.units")
def units(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Who else serves at `ports`. Returns `units`: `[{unit, ports, pid, command, enabled, why, program, stop, start}]`.

    `why` says what keeps a unit from being retired by us; empty when nothing does. See `foreign_units.at`.
    """
    return {"units": foreign_units.at(Site.from_args(args), [int(port) for port in args["ports"]])}


@operation("adopting.front")
def look(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What would be changed in which file of the configuration: `{path, diff, backends, led, why}`. Changes nothing.

    `led`: some frontend there leads to `backend` now.

    Args:
        args: `site, path` (empty: of all that the balancer reads), `places` (`ADDRESS:PORT` → host), `backend`, and
            `kind`, the balancer's (`haproxy` where it is left out).
    """
    path, led = str(args["path"]), False
    kind, places, backend = _about(args)
    try:
        led = frontends.leads(kind, path, backend)
        path, rewrite = frontends.locate(kind, path, places, backend)
    except (Unsupported, OSError) as error:
        none = f"there is no {path}; `balancer.kind` says what leads users to the app"
        why = none if isinstance(error, FileNotFoundError) else str(error)
        return {"path": path, "diff": "", "backends": [], "led": led, "why": why}
    why = f"{path}: nothing there sends to {', '.join(rewrite.missing)}" if rewrite.missing else ""
    return {"path": path, "diff": rewrite.diff, "backends": list(rewrite.backends), "led": led, "why": why}


@operation("adopting.record")
def record(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Writes down what a person has allowed: `site, run, who`, and `units` that serve now, or `front`.

    Changes nothing else. What was allowed before stays, unless it is among these.
    """
    site = Site.from_args(args)
    kept = noted(site) or {}
    provenance = {"run": args["run"], "who": args["who"], "since": round(time.time(), 3)}
    fresh = [{**unit, **provenance, "state": "recorded"} for unit in args.get("units") or ()]
    others = [
        unit for unit in kept.get("units", ()) if unit["unit"] not in {fresh_unit["unit"] for fresh_unit in fresh}
    ]
    entry: dict[str, Any] = {"units": fresh + others, "front": kept.get("front")}
    if args.get("front"):
        entry["front"] = {**args["front"], **provenance, "state": "recorded"}
    _save(site, entry)
    return {"adoption": entry}


@operation("adopting.move")
def move(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Leads the foreign frontends to our pool, as was shown. Returns `changed`.

    Args:
        args: `site, run, handler` (commands that check the whole configuration and make it live, or say why not).

    Raises:
        OpError `changed`: the file is not as it was when the diff was shown. `invalid`: the balancer does not take it,
        and the file and what it runs are as they were. `unsettled`: it is not known which of both it runs.
    """
    site = Site.from_args(args)
    with host_lock(site):
        adoption = noted(site) or {}
        front = adoption.get("front")
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
        failure = _made_live(args["handler"])
        if failure is not None:
            # A reload that came too late for its handler may have taken the file up: the old one is loaded again.
            if not _put_back(site, path, front) or _made_live(args["handler"]) is not None:
                why = f"{path}: the balancer does not take it, nor what was there before: {failure.why}"
                raise OpError(
                    "unsettled", why, "look at its log on that host, then type deploy push {env}", log=failure.log()
                )
            _note(site, adoption, front, "recorded")
            why = f"{path}: the balancer does not take it: {failure.why}; all is as it was"
            raise OpError("invalid", why, log=failure.log())
        _note(site, adoption, front, "moved")
    ledger.append(site, {"run": args["run"], "event": "adopt", "what": f"led {path} to {front['backend']}"})
    return {"changed": True}


@operation("adopting.retire")
def retire(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Stops and disables the foreign units once nobody is connected to them: `site, run, patience` (seconds).

    Returns `retired: [units]` and `busy`: unit → connections that it still had after `patience`; it serves on.
    Raises OpError `did_not_stop`, `lease_lost`, `cancelled`.
    """
    site = Site.from_args(args)
    adoption = noted(site) or {}
    retired: list[str] = []
    busy: dict[str, int] = {}
    for unit in adoption.get("units", ()):
        if unit["state"] == "retired":
            continue
        left = _connected(ctx, unit["ports"], float(args["patience"]))
        if left:
            busy[unit["unit"]] = left
            continue
        ctx.require_lease(f"stop {unit['unit']}")
        _note(site, adoption, unit, "retiring")
        ctx.progress(f"stopping and disabling {unit['unit']}")
        foreign_units.stop_for_good(unit)
        _note(site, adoption, unit, "retired")
        ledger.append(site, {"run": args["run"], "event": "adopt", "what": f"stopped and disabled {unit['unit']}"})
        retired.append(unit["unit"])
    return {"retired": retired, "busy": busy}


def noted(site: Site) -> dict[str, Any] | None:
    """`{units: [{unit, ports, pid, command, enabled, state, run, who, since}], front: {path, diff, places, backend,
    backends, state, …} or null}`; None where nothing was ever taken over.
    """
    try:
        with open(site.adoption, encoding="utf-8") as file:
            adoption = json.load(file)
    except (OSError, ValueError):
        return None
    return adoption if isinstance(adoption, dict) else None


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


def _about(front: dict[str, Any]) -> tuple[str, dict[str, str], str]:
    """Kind, places and backend of a frontend that is to be led."""
    return str(front.get("kind", "haproxy")), front["places"], front["backend"]


def _led(front: dict[str, Any], text: str) -> Rewrite:
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


def _put_back(site: Site, path: str, front: dict[str, Any]) -> bool:
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


def _note(site: Site, whole: dict[str, Any], part: dict[str, Any], state: str) -> None:
    part["state"] = state
    _save(site, whole)


def _save(site: Site, entry: dict[str, Any]) -> None:
    files.write(site.adoption, json.dumps(entry).encode("utf-8"), 0o600)


def _changed(path: str, site: Site, why: str) -> OpError:
    message = f"{path} is not as it was when its diff was shown: {why}"
    return OpError("changed", message, f"deploy setup {site.env} --replace shows it anew")
