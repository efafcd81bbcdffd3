"""Executable inventories: `SCRIPT --list`, and `SCRIPT --host NAME` where the list has no `_meta`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deployer.errors import InventoryError
from deployer.inventory.raw import RawInventory, Value
from deployer.inventory.yaml_source import read_groups
from deployer.settings.document import Document, parse_document

TIMEOUT_S = 60.0


def read_script(path: Path, shown: str, raw: RawInventory) -> None:
    """Runs the script and adds what it prints to `raw`. Raises: InventoryError when it fails or prints no groups."""
    document = _run(path, shown, "--list")
    read_groups(document, raw)
    if "_meta" in document.data:
        return
    for name in list(raw.hosts):
        own = _run(path, shown, "--host", name)
        for key, value in own.data.items() if isinstance(own.data, dict) else ():
            raw.hosts[name][key] = Value(value, own.mark(key))


def _run(path: Path, shown: str, *arguments: str) -> Document:
    command = " ".join([shown, *arguments])
    try:
        done = subprocess.run(
            [str(path.absolute()), *arguments], cwd=path.parent, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise InventoryError(f"{command} did not end within {TIMEOUT_S:g} s", file=shown) from None
    except OSError as problem:
        raise InventoryError(f"{command} cannot be run: {problem.strerror}", file=shown) from None
    if done.returncode != 0:
        log = done.stderr.decode(errors="replace").splitlines()[-20:]
        raise InventoryError(f"{command} failed with exit status {done.returncode}", file=shown, log=log)
    # JSON is YAML, and the reader of YAML keeps the line of every value.
    return parse_document(done.stdout.decode(errors="replace"), command, InventoryError, ansible=True)
