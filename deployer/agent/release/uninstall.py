"""What an app leaves on a host when it is taken off: its shared files and its history. All the rest goes."""

from __future__ import annotations

import contextlib
import os
import time

from deployer.agent.balancer import drain_records
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import site as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.release import operations as release
from deployer.agent.release.retention import Pruner
from deployer.agent.site import links, ownership
from deployer.agent.system import tree

# A locked file must never go (its name could then be locked twice); what a live watchdog has is its own to remove.
_STAYS = ("lock", "ledger.jsonl", "site.json", "drained.json", "drained.lock", "watchdog-")


@operation(wire.UNINSTALL)
def remove(ctx: Context, request: wire.Uninstall) -> wire.Uninstalled:
    """Removes releases, virtualenvs, links and secrets, once nothing of the app runs. Under the site's lock.

    `shared/`, the history and what strangers put there stay. From then on the host counts as not set up, until
    `site.join`.

    Raises:
        OpError: `in_use` (a process still runs in a release; nothing was removed), `not_removed` (all else of the
            releases and virtualenvs went), `not_ours`, `lease_lost`.
    """
    site, balances = Site.of(request), bool(request.get("balances"))
    ownership.require_ours(site)
    if not os.path.isdir(site.state):
        return {"kept": []}
    retiring = Pruner(site, release.complete)
    running = [*links.used(site), *retiring.running().values()]
    if running:
        raise OpError("in_use", f"{site.root} is still used by {', '.join(running)}, so nothing was removed")
    ctx.require_lease("remove " + site.root)
    if not balances:
        owner = ownership.owner(site)
        before = owner.get("removed") if owner else None
        ownership.note(site, before or {"who": request["who"], "run": request["run"], "since": round(time.time(), 3)})
        with drain_records.editing(site) as records:
            records.clear()
    links.drop_current(site)
    retiring.everything()
    for name in os.listdir(site.state):
        if not name.startswith(_STAYS):
            tree.remove(site.state + "/" + name)
    with contextlib.suppress(OSError):  # it would be gone with the next boot
        tree.remove(site.sockets)
    return {"kept": [path for path in (site.shared, site.state) if os.path.isdir(path)]}
