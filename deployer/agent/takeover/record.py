"""What of another tool's a person has allowed to take over on this host: one file, `.deploy/adoption.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site
from deployer.agent.system import files

if TYPE_CHECKING:
    from deployer.agent.model.messages.takeover import Adoption


def read(site: Site) -> Adoption | None:
    """Returns the record; None where nothing was ever taken over."""
    try:
        with open(site.adoption, encoding="utf-8") as file:
            adoption = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(adoption, dict):
        return None
    return {"units": adoption.get("units") or [], "front": adoption.get("front")}


def write(site: Site, adoption: Adoption) -> None:
    """Writes the record and returns when it is on the disk."""
    files.write(site.adoption, json.dumps(adoption).encode("utf-8"), 0o600)
