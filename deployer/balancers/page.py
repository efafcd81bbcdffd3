"""The page that users get while an app is closed to them: the user's own, or a plain one."""

from __future__ import annotations

from deployer import templating
from deployer.balancers.base import Pool

RETRY_AFTER_S = 120
"""Seconds in Retry-After."""


def page(pool: Pool) -> str:
    """Return the whole page, as HTML."""
    return pool.maintenance or templating.render("maintenance.html.j2")
