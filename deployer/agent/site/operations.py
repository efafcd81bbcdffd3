"""Operations on a site as a whole: move `current`, read the ledger."""

from __future__ import annotations

import json
import os
from typing import Any

from deployer.agent.model.layout import OnSite, Site
from deployer.agent.model.messages import site as wire
from deployer.agent.model.typed import Empty
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links, lock, ownership
from deployer.agent.system import files


@operation(wire.PROMOTE)
def promote(ctx: Context, request: wire.Promote) -> wire.Promoted:
    """Moves `current` to a release that every slot in use on this host points at.

    Raises:
        OpError: `mixed` (a slot in use points elsewhere, nothing was moved), `incomplete`.
    """
    site, release, via = Site.of(request), request["release"], request["via"]
    if release is not None:
        links.require_complete(site, release)
    _require_unmixed(site, release, [int(port) for port in request.get("ports") or ()])
    current, noted = links.release_at(site.current), _noted(site)
    if current == release and noted == release and via != "reload":
        return {"current": release, "previous": release, "changed": False}
    previous = current if current != release else noted
    if release is None:
        links.drop_current(site)
    elif current != release:
        links.point_current(site, release)
    entry: ledger.Entry = {
        "run": request["run"],
        "event": "current",
        "release": release,
        "previous": previous,
        "via": via,
    }
    ledger.append(site, entry)
    return {"current": release, "previous": previous, "changed": current != release}


@operation(wire.NOTE_PLAN)
def note_plan(ctx: Context, request: wire.NotePlan) -> Empty:
    """Keeps what a run is about to do, on the disk before it does anything."""
    site = Site.of(request)
    os.makedirs(site.state, exist_ok=True)
    files.write(site.plan, json.dumps({"run": request["run"], "plan": request["plan"]}).encode("utf-8"), 0o644)
    return {}


@operation(wire.PLAN)
def plan(ctx: Context, request: OnSite) -> wire.LastPlan:
    """Reads the plan that was noted last."""
    site = Site.of(request)
    try:
        with open(site.plan, encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return {"run": None, "plan": None, "ended": True}
    ended = any(line.get("run") == record["run"] and line.get("event") == "ended" for line in ledger.read(site))
    return {"run": record["run"], "plan": record["plan"], "ended": ended}


@operation(wire.NOTE_BEGIN)
def note_begin(ctx: Context, request: wire.NoteBegin) -> Empty:
    """Writes into the ledger what a run is about, once it is known."""
    begun: ledger.Entry = {"event": "begun", "run": request["run"], "who": request["who"]}
    ledger.append(Site.of(request), {**begun, "command": request["command"], "release": request["release"]})
    return {}


@operation(wire.NOTE_END)
def note_end(ctx: Context, request: wire.NoteEnd) -> Empty:
    """Writes into the ledger how a run ended."""
    ended: ledger.Entry = {
        "event": "ended",
        "run": request["run"],
        "who": request["who"],
        "command": request["command"],
        "release": request["release"],
        "outcome": request["outcome"],
        "why": request["why"],
        "duration_s": request["duration_s"],
    }
    ledger.append(Site.of(request), ended)
    return {}


@operation(wire.LEDGER)
def entries(ctx: Context, request: wire.ReadLedger) -> wire.Ledger:
    """Reads the last entries of the ledger, and who holds the lock."""
    site = Site.of(request)
    return {"entries": ledger.read(site, request.get("limit")), "lock": lock.holder(site)}


@operation(wire.JOIN)
def join(ctx: Context, request: OnSite) -> wire.Joined:
    """Notes that the app is on this host again after it was taken off."""
    site = Site.of(request)
    owner_record = ownership.owner(site)
    if not owner_record or not owner_record.get("removed"):
        return {"joined": False}
    ownership.note(site, None)
    return {"joined": True}


def _require_unmixed(site: Site, release: str | None, ports: list[int]) -> None:
    used = {port: links.release_at(site.slot(port)) for port in ports}
    others = {port: linked_release for port, linked_release in used.items() if linked_release not in (None, release)}
    if others:
        shown = ", ".join("%d at %s" % item for item in sorted(others.items()))
        raise OpError(
            "mixed",
            f"current stays, for not every slot points at release {release or '(none)'}: {shown}",
            f"deploy status {site.env} shows what serves where",
            detail={"slots": {str(port): linked_release for port, linked_release in used.items()}},
        )


def _noted(site: Site) -> str | None:
    """The release of the ledger's last `current` line: what was current before a crash between link and line."""
    for entry in reversed(ledger.read(site)):
        if entry.get("event") == "current":
            return entry.get("release")
    return None
