"""What tests of the command line share: copies of the examples, and JSON lines read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str, folder: Path) -> None:
    """A user's copy of an example's code, without any of our files."""
    shutil.copytree(
        EXAMPLES / name,
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", "deploy*.yaml", "inventories"),
    )


def lines(result: Any) -> list[dict[str, Any]]:
    """The JSON lines of a command; fails when there is anything else on stdout."""
    return [json.loads(line) for line in result.stdout.splitlines()]
