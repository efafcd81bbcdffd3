"""A package with adapters of its own, installed as users install one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import uv

TOY = Path(__file__).resolve().parents[1] / "plugins/toy"


def install_toy(folder: Path) -> None:
    """Installs `tests/plugins/toy` into a folder, which then goes onto the path. uv builds it without the network."""
    command = [
        uv.find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--target",
        str(folder),
        str(TOY),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
