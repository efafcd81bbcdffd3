"""The runs that this machine knows of: one file per run, with the same lines as the ledgers of the hosts.

A run that takes a lock is in the ledgers of the hosts, and its file here goes when they have its end. What stays here
are runs that ended before they came to a lock: in the build hook, with an unreachable host, or in wrong settings.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deployer.state import state

KEPT = 200
"""Runs of one app and environment that are kept."""


class LocalRuns:
    """The runs of one app and environment. A folder that cannot be written never stops a run."""

    def __init__(self, app: str, env: str) -> None:
        self._folder = state() / "runs" / quote(env, safe="") / quote(app, safe="")

    def begin(self, run: str, **about: Any) -> None:
        """Notes that a run began, durably; `about` is who, command and the like. Removes the oldest runs."""
        entry = {"ts": round(time.time(), 3), "run": run, "event": "begun", "pid": os.getpid(), **about}
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._append(run, entry)
            for path in sorted(self._folder.glob("*.jsonl"))[:-KEPT]:
                path.unlink()

    def end(self, run: str, **about: Any) -> None:
        """Notes how a run ended."""
        with suppress(OSError):
            self._append(run, {"ts": round(time.time(), 3), "run": run, "event": "ended", **about})

    def forget(self, run: str) -> None:
        """Removes a run that the hosts have in their ledgers."""
        with suppress(OSError):
            self._path(run).unlink()

    def read(self) -> list[dict[str, Any]]:
        """All lines, oldest run first. `alive` in a first line: the process of that run still lives."""
        entries = []
        with suppress(OSError):
            for path in sorted(self._folder.glob("*.jsonl")):
                entries += _lines(path)
        return entries

    def _append(self, run: str, entry: Mapping[str, Any]) -> None:
        with self._path(run).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _path(self, run: str) -> Path:
        return self._folder / f"{quote(run, safe='')}.jsonl"


def _lines(path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                entries.append({**entry, "alive": _alive(int(entry.get("pid") or 0))})
    return entries


def _alive(pid: int) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
