"""Executable inventories: `SCRIPT --list`, and `SCRIPT --host NAME` where the list has no `_meta`."""

from __future__ import annotations

import os
from pathlib import Path

from deployer import local_program
from deployer.agent.system import process_runner
from deployer.errors import InventoryError
from deployer.inventory.formats.raw import RawInventory, Value
from deployer.inventory.formats.yaml_source import read_groups
from deployer.settings.yaml.document import Document, parse_document

TIMEOUT_S = 60.0


def read_script(path: Path, shown: str, raw: RawInventory) -> None:
    """Run the script and add its output to `raw`. Raises: InventoryError when it fails or prints no groups."""
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
    done = local_program.run_at_terminal([str(path.absolute()), *arguments], timeout=TIMEOUT_S, cwd=path.parent)
    if not done.started:
        raise InventoryError(f"{command} cannot be run: {done.stderr.rpartition(': ')[2]}", file=shown)
    if done.timed_out:
        raise InventoryError(
            f"{command} did not end within {TIMEOUT_S:g} s", file=shown, log=process_runner.tail(done.stderr)
        )
    if not done.ok:
        raise InventoryError(f"{command} failed with {done.why}", file=shown, log=process_runner.tail(done.stderr))
    # JSON is YAML, and the reader of YAML keeps the line of every value.
    text = os.fsencode(done.stdout).decode("utf-8", "replace")
    return parse_document(text, command, InventoryError, ansible=True)
