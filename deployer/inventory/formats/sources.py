"""Reads whatever an inventory is: a YAML, JSON or INI file, a script, or a folder of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from deployer.errors import InventoryError
from deployer.inventory.formats.ini_source import read_ini
from deployer.inventory.formats.raw import RawInventory
from deployer.inventory.formats.script_source import read_script
from deployer.inventory.formats.yaml_source import read_yaml
from deployer.settings.load import shown

_YAML = (".yaml", ".yml", ".json")
_NO_INVENTORY = (".cfg", ".retry", ".pyc", ".swp", ".bak", ".orig", ".md", ".txt", ".rst", ".pub", ".pem", ".key")
_VARIABLES = ("group_vars", "host_vars", "known_hosts")
_YAML_LINE = re.compile(r"(---|[\w.\"'\[\]:-]+:(\s|$)|\{)")


def read_source(path: Path) -> RawInventory:
    """Return the inventory at `path`, variables not merged yet. Raises: InventoryError with file and line."""
    raw = RawInventory()
    if not path.exists():
        raise InventoryError("there is no such inventory", file=shown(path))
    if not path.is_dir():
        _read(path, raw)
        return raw
    for inner in sorted(path.iterdir()):
        if inner.is_file() and _is_source(inner):
            _read(inner, raw)
    return raw


def _is_source(path: Path) -> bool:
    skipped = path.name.startswith(".") or path.name.endswith("~") or path.suffix in _NO_INVENTORY
    return not skipped and path.name not in _VARIABLES


def _read(path: Path, raw: RawInventory) -> None:
    if path.suffix in _YAML:
        read_yaml(path, shown(path), raw)
    elif path.suffix != ".ini" and os.access(path, os.X_OK):
        read_script(path, shown(path), raw)
    elif path.suffix != ".ini" and _looks_like_yaml(path):
        read_yaml(path, shown(path), raw)
    else:
        read_ini(path, shown(path), raw)


def _looks_like_yaml(path: Path) -> bool:
    """Return a file without a telling name is YAML if its first line with content is; a host with a port has no
    blank."""
    for line in path.read_text("utf-8", errors="replace").splitlines():
        if line.strip() and line.lstrip()[0] not in "#;":
            return bool(_YAML_LINE.match(line)) and not line.startswith("[")
    return False
