"""Where the inventory of an environment lies: `inventories/ENV.*` beside `deploy.yaml` or in a folder above it."""

from __future__ import annotations

import os
from pathlib import Path

from deployer.errors import InventoryError
from deployer.settings.validation_errors import nearest

FOLDER = "inventories"
ENDINGS = (".yaml", ".yml", ".ini", ".json")


def find(env: str, base: Path) -> Path:
    """Return the inventory of `env`, searched upward from `base`.

    Raises: InventoryError that names the environments that exist, or says that two files claim the name.
    """
    known: set[str] = set()
    for above in (base.absolute(), *base.absolute().parents):
        folder = above / FOLDER
        if not folder.is_dir():
            continue
        matches = [path for path in sorted(folder.iterdir()) if _environment(path) == env]
        if len(matches) > 1:
            names = " and ".join(path.name for path in matches)
            raise InventoryError(f"{names} both are the inventory of {env}", file=str(folder), hint="keep one of them")
        if matches:
            return matches[0]
        known |= environments(folder)
    raise _none(env, known)


def known_environments(base: Path) -> set[str]:
    """Return the environments that have an inventory in `inventories/` of `base`, or of a folder above it."""
    return {name for above in (base.absolute(), *base.absolute().parents) for name in environments(above / FOLDER)}


def environments(folder: Path) -> set[str]:
    """Return the environments that have an inventory in this folder."""
    return {name for path in folder.iterdir() if (name := _environment(path))} if folder.is_dir() else set()


def _environment(path: Path) -> str | None:
    """Return the environment that a file or folder is the inventory of, if it is one."""
    if path.name.startswith(".") or path.name in ("group_vars", "host_vars", "known_hosts"):
        return None
    if path.is_dir():
        return path.name
    if path.suffix in ENDINGS:
        return path.stem
    return path.stem if os.access(path, os.X_OK) else None


def _none(env: str, known: set[str]) -> InventoryError:
    if not known:
        return InventoryError(
            f"{FOLDER}/{env}.yaml was not found beside deploy.yaml nor in a folder above it",
            hint="deploy init writes one; or name a file with -i PATH",
        )
    near = nearest(env, known)
    return InventoryError(
        f"unknown environment {env}; known: {', '.join(sorted(known))}",
        hint=f"did you mean {near}? deploy hosts {near} shows it" if near else f"add {FOLDER}/{env}.yaml",
    )
