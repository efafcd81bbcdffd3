"""Which testinfra files a folder of checks holds, and when they are due."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Scope = Literal["instance", "fleet"]

_INSTANCE = "test_instance"


def find(folder: Path, scope: Scope | None = None) -> tuple[Path, ...]:
    """Return the check files below `folder`, sorted; empty if there is no such folder.

    `test_instance*.py` are the instance's: run once per wave, before it is admitted. All other `test_*.py` are the
    fleet's: run at the end, and by `deploy verify`, which runs both (`scope` None).
    """
    files = sorted(path for path in folder.rglob("test_*.py") if not _hidden(path.relative_to(folder)))
    return tuple(path for path in files if scope in (None, scope_of(path)))


def scope_of(file: Path) -> Scope:
    """When the checks of `file` are due."""
    return "instance" if file.name.startswith(_INSTANCE) else "fleet"


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)
