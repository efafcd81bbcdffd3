"""The runs that this machine knows of: one file per run, with the same lines as the ledgers of the hosts.

A run that takes a lock is in the ledgers of the hosts, and its file here goes when they have its end. What stays here
are runs that ended before they came to a lock: in the build hook, with an unreachable host, or in wrong settings.

While a run lives, its process holds a kernel lock on its file. A file without that lock and without an end is of a run
whose process was killed, or whose machine stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from deployer.rollout.timestamps import format_utc
from deployer.state import state

KEPT = 200
"""Runs of one app and environment that are kept."""

_STEP_EVERY_S = 0.5
"""Steps on many hosts begin at once; the last known one need not be known more exactly than this."""

Entry = dict[str, Any]


class LocalRuns:
    """The runs of one app and environment. A folder that cannot be used never stops a run.

    `problem` says why this machine cannot note the run; empty while it can.
    """

    def __init__(self, app: str, env: str) -> None:
        self.problem = ""
        self._lock = threading.Lock()
        self._held: int | None = None  # the descriptor of this run's file, with its kernel lock
        self._step: tuple[str, float] = ("", 0.0)
        self._folder: Path | None = None
        try:
            self._folder = state() / "runs" / quote(env, safe="") / quote(app, safe="")
        except (OSError, RuntimeError) as error:  # no home, or a loop of links in its path
            self.problem = str(error)

    def begin(self, run: str, **about: Any) -> None:
        """Notes that a run began, durably; `about` is who, command and the like. Removes the oldest runs."""
        entry = {"ts": round(time.time(), 3), "run": run, "event": "begun", "pid": os.getpid(), **about}
        with self._noting():
            path = self._path(run)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Whoever looks sees the file with its lock, or not at all.
            fresh = path.with_suffix(".new")
            self._held = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(entry, durably=True)
            os.rename(fresh, path)
            for old in sorted(path.parent.glob("*.jsonl"))[:-KEPT]:
                old.unlink()

    def note_step(self, run: str, step: str, host: str) -> None:
        """Notes that a step of a run begins, as its last known one. Cheap, and not durable: a killed run is enough."""
        now = time.time()
        if step == self._step[0] and now - self._step[1] < _STEP_EVERY_S:
            return
        self._step = (step, now)
        with self._noting():
            self._write({"ts": round(now, 3), "run": run, "event": "step", "step": step, "host": host or None})

    def end(self, run: str, **about: Any) -> None:
        """Notes how a run ended, durably."""
        with self._noting():
            self._write({"ts": round(time.time(), 3), "run": run, "event": "ended", **about}, durably=True)
        self._release()

    def forget(self, run: str) -> None:
        """Removes a run that the hosts have in their ledgers."""
        with suppress(OSError, RuntimeError):
            self._path(run).unlink()
        self._release()

    def read(self) -> list[Entry]:
        """All lines but those of steps, oldest run first.

        `alive` in a first line: the process of that run still lives. A run whose process is gone without a word has an
        end that says so, and what its last known step was.
        """
        return [entry for lines in self._runs() for entry in lines if entry["event"] != "step"]

    def settle(self) -> list[Entry]:
        """Notes the end of every run whose process is gone without a word; returns these ends, oldest first."""
        ends = [lines[-1] for lines in self._runs() if lines and lines[-1].get("inferred")]
        for entry in ends:
            with suppress(OSError), self._path(entry["run"]).open("a", encoding="utf-8") as file:
                file.write("\n" + _line({key: value for key, value in entry.items() if key != "inferred"}))
        return ends

    def _runs(self) -> list[list[Entry]]:
        paths: list[Path] = []
        with suppress(OSError):
            paths = sorted(self._folder.glob("*.jsonl")) if self._folder else []
        return [_run_lines(path) for path in paths]

    def _write(self, entry: Mapping[str, Any], *, durably: bool = False) -> None:
        if self._held is None:
            return
        data = _line(entry).encode()
        with self._lock:
            if os.write(self._held, data) < len(data):
                raise OSError("the disk is full")
            if durably:
                os.fsync(self._held)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with suppress(OSError):
                os.close(held)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keeps the first reason why something could not be noted, after which nothing more is."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self.problem = self.problem or getattr(error, "strerror", None) or str(error)
            self._release()

    def _path(self, run: str) -> Path:
        if self._folder is None:
            raise OSError(self.problem)
        return self._folder / f"{quote(run, safe='')}.jsonl"


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"


def _run_lines(path: Path) -> list[Entry]:
    """The valid lines of one run's file, with the end that a dead one lacks."""
    alive, text = _read(path)
    entries = [entry for line in text.splitlines() if (entry := _entry(line)) is not None]
    if not entries and not alive:
        entries = [cut] if (cut := _cut(path)) else []
    if entries:
        entries[0]["alive"] = alive
    if entries and not alive and not any(entry["event"] == "ended" for entry in entries):
        entries.append(_inferred_end(entries))
    return entries


def _read(path: Path) -> tuple[bool, str]:
    """Whether a process holds the file's lock, and what is in the file; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            alive = not _try_lock(file.fileno())
            return alive, file.read().decode("utf-8", "replace")
    except OSError:
        return False, ""


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nobody can tell, and a run that lives must not be called dead
        return False
    return True


def _entry(line: str) -> Entry | None:
    """One line; None for one that was cut, or that is not one of ours."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("run"), str) or not isinstance(entry.get("event"), str):
        return None
    ts = entry.get("ts")
    return entry if isinstance(ts, int | float) and not isinstance(ts, bool) and 0 <= ts < 253402300800 else None


def _cut(path: Path) -> Entry | None:
    """The beginning of a run whose file has no valid line: the machine stopped while it was written."""
    try:
        return {"ts": round(path.stat().st_mtime, 3), "run": unquote(path.stem), "event": "begun"}
    except OSError:  # it was removed just now
        return None


def _inferred_end(entries: list[Entry]) -> Entry:
    last = entries[-1]
    why = "it has no recorded end: its process was killed, its machine stopped, or its disk was full"
    if last["event"] == "step":
        where = f" on {last['host']}" if last.get("host") else ""
        why += f"; its last known step is {last.get('step')}{where}, begun at {format_utc(last['ts'])} UTC"
    about = {key: entries[0].get(key) for key in ("who", "command", "release")}
    took = round(max(0.0, last["ts"] - entries[0]["ts"]), 1)
    end = {"ts": last["ts"], "run": last["run"], "event": "ended", **about}
    return {**end, "outcome": "interrupted", "why": why, "duration_s": took, "inferred": True}
