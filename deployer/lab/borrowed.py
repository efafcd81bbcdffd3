"""What labs change of the machine itself, and put back when the last of them leaves.

The record lies in `/run`, so it is gone after a reboot, as the changes are. Everything here needs root.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployer.lab.locking import hold_lock

RECORD = Path("/run/deploy-lab.json")
LOCK = Path("/run/deploy-lab.lock")


def raise_kernel_limits(tag: str, at_least: Mapping[str, int]) -> None:
    """Set each kernel setting (`net/ipv4/ip_forward`) to at least that value, for the lab marked `tag`.

    What it was before is on disk before it is changed.
    """
    with hold_lock(LOCK):
        record = _read()
        record["users"] = sorted({*record["users"], tag})
        too_low = {name: value for name, value in at_least.items() if _value(name) < value}
        for name in too_low:
            record["kernel"].setdefault(name, _value(name))
        _write(record)
        for name, value in too_low.items():
            _setting(name).write_text(str(value))


def make_folder(tag: str, folder: Path) -> None:
    """Make a folder of the system's (`/run/sshd`) for the lab marked `tag`, when it is missing."""
    with hold_lock(LOCK):
        record = _read()
        record["users"] = sorted({*record["users"], tag})
        if not folder.is_dir():
            record["folders"] = sorted({*record["folders"], str(folder)})
            _write(record)
            folder.mkdir(mode=0o755)
        elif str(folder) in record["folders"]:
            _write(record)


def give_back(tag: str) -> None:
    """The lab marked `tag` needs nothing more; the last one puts everything back. Harmless to repeat."""
    if not RECORD.exists():
        return
    with hold_lock(LOCK):
        record = _read()
        record["users"] = [user for user in record["users"] if user != tag]
        if record["users"]:
            _write(record)
            return
        for name, value in record["kernel"].items():
            _setting(name).write_text(str(value))
        for folder in record["folders"]:
            if Path(folder).is_dir() and not any(Path(folder).iterdir()):
                Path(folder).rmdir()
        RECORD.unlink(missing_ok=True)


def _read() -> dict[str, Any]:
    record: dict[str, Any] = {"users": [], "kernel": {}, "folders": []}
    with contextlib.suppress(FileNotFoundError, ValueError):
        record |= json.loads(RECORD.read_text())
    return record


def _write(record: dict[str, Any]) -> None:
    fresh = RECORD.with_suffix(".new")
    fresh.write_text(json.dumps(record))
    fresh.replace(RECORD)


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name


def _value(name: str) -> int:
    return int(_setting(name).read_text())
