"""Where this user's caches are: the tool's own, and beside it those of pip and uv."""

from __future__ import annotations

import os
from pathlib import Path


def caches() -> Path:
    """`XDG_CACHE_HOME`, else `~/.cache`: without links in it. A relative one is no valid one, says its standard."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache").resolve()


def cache() -> Path:
    """Return the tool's own cache folder: resolved requirements, wheels, labs and their root file systems.

    It may not exist yet.
    """
    return caches() / "deployer"
