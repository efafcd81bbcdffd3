"""A person's stop sign for all pushes to a site: `.deploy/frozen.json`, there until somebody takes it away."""

from __future__ import annotations

import json
import os
import time

from deployer.agent.model.layout import Site
from deployer.agent.model.messages import freeze as wire
from deployer.agent.operation import Context, operation
from deployer.agent.site import ledger
from deployer.agent.system import files


def path(site: Site) -> str:
    """The file whose presence freezes the site."""
    return site.state + "/frozen.json"


def frozen(site: Site) -> wire.FreezeRecord | None:
    """`{who, reason, since}` (seconds since the epoch), or None. A file that cannot be read still freezes."""
    try:
        with open(path(site), encoding="utf-8") as file:
            record = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return {"who": "", "reason": f"{path(site)} cannot be read: {error}", "since": None}
    return {"who": record.get("who"), "reason": record.get("reason"), "since": record.get("since")}


@operation(wire.SET)
def put(ctx: Context, request: wire.Freeze) -> wire.Frozen:
    """Stops all pushes to the site; an earlier freeze is replaced."""
    site = Site.of(request)
    note: wire.FreezeRecord = {
        "who": request.get("who") or ctx.identity,
        "reason": request["reason"],
        "since": round(time.time(), 3),
    }
    os.makedirs(site.state, exist_ok=True)
    files.write(path(site), json.dumps(note).encode("utf-8"), 0o644)
    ledger.append(site, {"event": "frozen", "who": note["who"], "why": note["reason"]})
    return {"frozen": note}


@operation(wire.CLEAR)
def clear(ctx: Context, request: wire.Thaw) -> wire.Thawed:
    """Allows pushes to the site again."""
    site = Site.of(request)
    if not files.remove(path(site)):
        return {"cleared": False}
    ledger.append(site, {"event": "thawed", "who": request.get("who") or ctx.identity})
    return {"cleared": True}
