"""Where this user's state lies: what the tool remembers of its own runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def state() -> Path:
    """Return the tool's folder in `XDG_STATE_HOME`, else in `~/.local/state`. It may not exist yet.

    A relative `XDG_STATE_HOME` is ignored, as its specification says.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local/state").resolve() / "deployer"
