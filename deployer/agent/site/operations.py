"""Operations on a site as a whole: move `current`, read the ledger."""

from __future__ import annotations

import json
import os
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links, lock, ownership
from deployer.agent.system import files


@operation("site.promote")
def promote(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Moves `current` to a release that every slot in use on this host points at.

    Args:
        args: `site, run, release` (None: the way back of a first push; there is no current one then), `via` (`push`,
            `rollback`, `restore`, `reload`), `ports` (the slots to look at).

    Returns:
        `current`, `previous` (None: there was none), `changed`.

    Raises:
        OpError `mixed`: a slot in use points elsewhere, nothing was moved. OpError `incomplete`: no such release.
    """
    site, release, via = Site.from_args(args), args["release"], args["via"]
    if release is not None:
        links.require_complete(site, release)
    _require_unmixed(site, release, [int(port) for port in args.get("ports") or ()])
    current, noted = links.release_at(site.current), _noted(site)
    if current == release and noted == release and via != "reload":
        return {"current": release, "previous": release, "changed": False}
    previous = current if current != release else noted
    if release is None:
        links.drop_current(site)
    elif current != release:
        links.point_current(site, release)
    entry = {"run": args["run"], "event": "current", "release": release, "previous": previous, "via": via}
    ledger.append(site, entry)
    return {"current": release, "previous": previous, "changed": current != release}


@operation("site.note_plan")
def note_plan(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Keeps what a run is about to do, durable before it does anything: `site, run, plan` (plain data)."""
    site = Site.from_args(args)
    os.makedirs(site.state, exist_ok=True)
    files.write(site.plan, json.dumps({"run": args["run"], "plan": args["plan"]}).encode("utf-8"), 0o644)
    return {}


@operation("site.plan")
def plan(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The plan that was noted last: `run`, `plan`, and `ended`, whether that run came to its end here; None: none."""
    site = Site.from_args(args)
    try:
        with open(site.plan, encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return {"run": None, "plan": None, "ended": True}
    ended = any(line.get("run") == record["run"] and line.get("event") == "ended" for line in ledger.read(site))
    return {"run": record["run"], "plan": record["plan"], "ended": ended}


@operation("site.note_begin")
def note_begin(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Writes into the ledger what a run is about, once it is known: `site, run, who, command, release`."""
    keys = ("run", "who", "command", "release")
    ledger.append(Site.from_args(args), {"event": "begun", **{key: args.get(key) for key in keys}})
    return {}


@operation("site.note_end")
def note_end(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Writes into the ledger how a run ended: `site, run, who, command, release, outcome, why, duration_s`."""
    keys = ("run", "who", "command", "release", "outcome", "why", "duration_s")
    ledger.append(Site.from_args(args), {"event": "ended", **{key: args.get(key) for key in keys}})
    return {}


@operation("site.ledger")
def entries(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The last `limit` entries of the ledger (all when None), oldest first, as `entries`; `lock`: who holds it now."""
    site = Site.from_args(args)
    return {"entries": ledger.read(site, args.get("limit")), "lock": lock.holder(site)}


@operation("site.join")
def join(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The app is on this host again, after it was taken off: `site`. `joined` False: it never was."""
    site = Site.from_args(args)
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
