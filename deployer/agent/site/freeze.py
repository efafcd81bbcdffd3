"""A person's stop sign for all pushes to a site: `.deploy/frozen.json`, there until somebody takes it away."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, operation
from deployer.agent.site import ledger
from deployer.agent.system import files


def path(site: Site) -> str:
    """The file whose presence freezes the site."""
    return site.state + "/frozen.json"


def frozen(site: Site) -> dict[str, Any] | None:
    """`{who, reason, since}` (seconds since the epoch), or None. A file that cannot be read still freezes."""
    try:
        with open(path(site), encoding="utf-8") as file:
            record = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return {"who": "", "reason": f"{path(site)} cannot be read: {error}", "since": None}
    return {key: record.get(key) for key in ("who", "reason", "since")}


@operation("freeze.set")
def put(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Freezes the site: `site, reason, who`. Returns `frozen: {who, reason, since}`; an earlier freeze is replaced."""
    site = Site.from_args(args)
    note = {"who": args.get("who") or ctx.identity, "reason": args["reason"], "since": round(time.time(), 3)}
    os.makedirs(site.state, exist_ok=True)
    files.write(path(site), json.dumps(note).encode("utf-8"), 0o644)
    ledger.append(site, {"event": "frozen", "who": note["who"], "why": note["reason"]})
    return {"frozen": note}


@operation("freeze.clear")
def clear(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Thaws the site: `site`, `who`. `cleared` False: it was not frozen."""
    site = Site.from_args(args)
    if not files.remove(path(site)):
        return {"cleared": False}
    ledger.append(site, {"event": "thawed", "who": args.get("who") or ctx.identity})
    return {"cleared": True}
