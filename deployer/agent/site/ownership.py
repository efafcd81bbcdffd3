"""Whose a site is: one app in one environment, noted in it when it is first locked, and never another's.

.deploy/site.json: {"app", "env"}, and {"removed": {who, run, since}} once the app was taken off this host
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError
from deployer.agent.system import files

if TYPE_CHECKING:
    from deployer.agent.model.messages.host import Owner, Removal


def owner(site: Site) -> Owner | None:
    """`{app, env}` of the site that lies at this root; None when nobody said so yet.

    Where the app was taken off, `removed` is there too: `{who, run, since}` (seconds since the epoch).
    """
    try:
        with open(_file(site), encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    known: Owner = {"app": record.get("app"), "env": record.get("env")}
    if "removed" in record:
        known["removed"] = record["removed"]
    return known


def require_ours(site: Site) -> None:
    """Raises OpError `not_ours` when the root belongs to another app or another environment of it."""
    owner_record = owner(site)
    if owner_record and (owner_record["app"], owner_record["env"]) != (site.app, site.env):
        raise OpError(
            "not_ours",
            f"{site.root} belongs to the app {owner_record['app']} in {owner_record['env']}",
            f"give this app a root of its own: root: /srv/{site.app}-{site.env} in deploy.yaml, or in "
            "this environment's overlay",
        )


def claim(site: Site) -> None:
    """Notes the owner of a site that has none; `require_ours` otherwise."""
    require_ours(site)
    if owner(site) is None and os.path.isdir(site.state):
        note(site, None)


def note(site: Site, removed: Removal | None) -> None:
    """Writes down whose the site is, and who took the app off this host; None: it is there."""
    record = {"app": site.app, "env": site.env, **({"removed": removed} if removed else {})}
    files.write(_file(site), json.dumps(record).encode("utf-8"), 0o644)


def _file(site: Site) -> str:
    return site.state + "/site.json"
