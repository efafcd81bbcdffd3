"""Commands that the project itself would bring by `[project.scripts]`: hosts get its dependencies, and never these."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_BEFORE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*|exec|env")


class OwnCommand(NamedTuple):
    """A program of the project's own, and the whole command written so that hosts have it."""

    name: str
    instead: str


def own_command(folder: Path, scripts: Mapping[str, str], command: str) -> OwnCommand | None:
    """Return what is to be said of a command that begins with a program of the project's own; None for others.

    `scripts` is name → `module:function`, as pyproject.toml has it.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    first = next((word for word in words if not _BEFORE.fullmatch(word)), "")
    name = first.rpartition("/")[2]
    if name not in scripts:
        return None
    return OwnCommand(name, command.replace(first, instead(folder, scripts[name]), 1))


def not_installed(name: str) -> str:
    """Return why hosts lack it."""
    return f"{name} is a command of the project itself, but a push installs only the project's dependencies"


def instead(folder: Path, entry: str) -> str:
    """Return what starts `module:function` of the code in `folder` where no script was installed."""
    module, _, function = (part.strip() for part in entry.partition(":"))
    package = module.partition(".")[0]
    for below in (folder, folder / "src"):
        if function and function in _text(below / package / "__main__.py"):
            return f"python -m {package}"
        if "__main__" in _text((below / Path(*module.split("."))).with_suffix(".py")):
            return f"python -m {module}"
    return f"python -c 'import sys; from {module} import {function}; sys.exit({function}())'"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
