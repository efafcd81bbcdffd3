"""Maintenance: users get a page that says so, with 503, while everything behind the balancer goes on.

Who closed the app, why and since when is on record; the balancer's driver makes it so, and sees that it outlives what
the balancer does.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger
from deployer.agent.system import files


@operation("maintenance.set")
def put(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Closes the app to its users (`on`), or opens it: `{maintenance: record or null, changed}`. Safe to repeat.

    One that is closed already keeps its record. OpError `balancer_down` when the balancer cannot be told.
    """
    site, balancer, on = Site.from_args(args), create_driver(args["driver"]), bool(args["on"])
    record = read(site)
    new = record
    if on and record is None:
        who = args.get("who") or ctx.identity
        new = {"who": who, "reason": str(args.get("reason") or ""), "since": round(time.time(), 3)}
    _write(site, new if on else None)
    try:
        balancer.close(on)  # also when the record says so already: whoever wrote it may have died before this
    except OpError:
        _write(site, record)
        raise
    changed = on == (record is None)
    if changed:
        entry = {"event": "closed" if on else "opened", "who": args.get("who") or ctx.identity}
        ledger.append(site, {**entry, "why": str(args.get("reason") or "")})
    return {"maintenance": new if on else None, "changed": changed}


@operation("maintenance.state")
def state(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Whether the app is closed to its users: `{maintenance: {who, reason, since} or null}`."""
    return {"maintenance": read(Site.from_args(args))}


def read(site: Site) -> dict[str, Any] | None:
    """The record; None when the app is open."""
    try:
        with open(site.maintenance, encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return record


def _write(site: Site, record: dict[str, Any] | None) -> None:
    if record is not None:
        os.makedirs(site.state, exist_ok=True)
        files.write(site.maintenance, (json.dumps(record) + "\n").encode("utf-8"), 0o644)
    else:
        files.remove(site.maintenance)
