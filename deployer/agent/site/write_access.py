"""What a push writes below the root of a site, and whether it may: looked at without writing anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site

if TYPE_CHECKING:
    from deployer.agent.model.messages.host import PathProblem


def unwritable(site: Site) -> list[PathProblem]:
    """`{path, why}` of each folder or file that a push writes, and this user cannot; what is missing is left out.

    The kernel's answer counts a read-only mount and an immutable folder too, which modes do not show.
    """
    folders = [site.releases, site.venvs, site.slots, site.processes, site.schedules, site.shared, site.state]
    paths = [site.root, *folders, site.incoming, site.lock, site.ledger]
    answers: list[PathProblem] = [{"path": path, "why": _why_not(path)} for path in paths if os.path.exists(path)]
    if os.path.ismount(site.incoming):
        answers.append({"path": site.incoming, "why": "it is a mount point, and a push removes it"})
    return [answer for answer in answers if answer["why"]]


def _why_not(path: str) -> str:
    if os.access(path, os.W_OK):
        return ""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "it is on a read-only file system"
    return "this user may not write there: its owner, its mode, or an attribute such as immutable"
