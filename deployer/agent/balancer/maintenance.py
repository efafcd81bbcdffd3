"""Maintenance: users get a page that says so, with 503, while everything behind the balancer goes on.

Who closed the app, why and since when is on record; the balancer's driver makes it so, and sees that it outlives what
the balancer does.
"""

from __future__ import annotations

import json
import os
import time

from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.layout import OnSite, Site
from deployer.agent.model.messages import balancer as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger
from deployer.agent.system import files


@operation(wire.SET_MAINTENANCE)
def put(ctx: Context, request: wire.SetMaintenance) -> wire.MaintenanceSet:
    """Closes the app to its users, or opens it; safe to repeat.

    One that is closed already keeps its record.

    Raises:
        OpError: `balancer_down`, `unmanaged` (the record is as it was).
    """
    site, balancer, on = Site.of(request), create_driver(request["driver"]), bool(request["on"])
    record = read(site)
    new = record
    if on and record is None:
        who = request.get("who") or ctx.identity
        new = {"who": who, "reason": str(request.get("reason") or ""), "since": round(time.time(), 3)}
    _write(site, new if on else None)
    try:
        balancer.close(on)  # also when the record says so already: whoever wrote it may have died before this
    except OpError:
        _write(site, record)
        raise
    changed = on == (record is None)
    if changed:
        entry: ledger.Entry = {"event": "closed" if on else "opened", "who": request.get("who") or ctx.identity}
        ledger.append(site, {**entry, "why": str(request.get("reason") or "")})
    return {"maintenance": new if on else None, "changed": changed}


@operation(wire.MAINTENANCE)
def state(ctx: Context, request: OnSite) -> wire.MaintenanceState:
    """Reads whether the app is closed to its users."""
    return {"maintenance": read(Site.of(request))}


def read(site: Site) -> wire.MaintenanceRecord | None:
    """The record; None when the app is open."""
    try:
        with open(site.maintenance, encoding="utf-8") as file:
            record: wire.MaintenanceRecord = json.load(file)
    except FileNotFoundError:
        return None
    return record


def _write(site: Site, record: wire.MaintenanceRecord | None) -> None:
    if record is not None:
        os.makedirs(site.state, exist_ok=True)
        files.write(site.maintenance, (json.dumps(record) + "\n").encode("utf-8"), 0o644)
    else:
        files.remove(site.maintenance)
