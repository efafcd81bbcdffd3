"""The ledger of one site: what was intended and what came of it, one JSON object a line, fsynced before the act.

A crash may tear the last line. A torn line is closed by the next append and skipped by every reader: it was never
fsynced whole, so nothing was done that relied on it. So is a line whose fields have other types than these.

    {"ts", "run", "event": "intent" | "outcome", "op", "instance", "port", "release", "previous", "ok", "why"}
    {"ts", "run", "event": "begun", "who", "command", "release"}
    {"ts", "run", "event": "ended", "who", "command", "release", "outcome", "why", "duration_s"}
    {"ts", "run", "event": "current", "release", "previous", "via": "push" | "rollback" | "restore" | "reload"}
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, cast

from deployer.agent.model.layout import Site
from deployer.agent.system import files

if TYPE_CHECKING:
    from deployer.agent.model.messages.site import HalfDone, LedgerLine

    Entry = LedgerLine

_TEXTS = ("run", "event", "op", "release", "previous", "who", "command", "outcome", "why", "via")
_LAST_MOMENT = 253402300799  # the end of the year 9999, in seconds since the epoch


def append(site: Site, entry: Entry) -> Entry:
    """Writes one line and returns when it is on the disk.

    Args:
        entry: plain data; `ts` (seconds since the epoch) is added where it is missing.

    Returns:
        The entry as written. Raises OSError when the site's state folder cannot be written.
    """
    stamped: Entry = {"ts": round(time.time(), 3), **entry}
    line = json.dumps(stamped, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"
    os.makedirs(site.state, exist_ok=True)
    created = not os.path.exists(site.ledger)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(site.ledger, flags, 0o644)
    try:
        # One write in append mode: lines of several writers follow each other and never mix.
        _write_whole(fd, (b"\n" if _is_torn(fd) else b"") + line)
        os.fsync(fd)
    finally:
        os.close(fd)
    if created:
        files.fsync_folder(site.state)
    return stamped


def read(site: Site, limit: int | None = None) -> list[Entry]:
    """The entries, oldest first; the last `limit` of them. Empty when there is no ledger or it cannot be read."""
    try:
        with open(site.ledger, "rb") as file:
            data = file.read()
    except OSError:
        return []
    entries = [entry for entry in map(parse_line, data.split(b"\n")) if entry is not None]
    return entries if limit is None else entries[max(0, len(entries) - limit) :]


def proven(site: Site) -> list[str]:
    """The releases that have been `current` and were not withdrawn since, oldest first.

    Going back to a release does not make it younger, so that the one before it is what a further rollback finds.
    """
    return standing(read(site))[0]


def withdrawn(site: Site) -> list[str]:
    """The releases that a rollback or a restore moved away from, oldest first, unless they were pushed again."""
    return standing(read(site))[1]


def standing(entries: list[Entry]) -> tuple[list[str], list[str]]:
    """`proven` and `withdrawn` of entries already read."""
    good: list[str] = []
    gone: list[str] = []
    for entry in entries:
        release, previous, via = entry.get("release"), entry.get("previous"), entry.get("via")
        if entry.get("event") != "current":
            continue
        if via in ("rollback", "restore") and previous and previous != release:
            good = [name for name in good if name != previous]
            gone = [name for name in gone if name != previous] + [previous]
        if not release:  # the way back of a first push
            continue
        if release not in good or via == "push":
            good = [name for name in good if name != release] + [release]
        gone = [name for name in gone if name != release]
    return good, gone


def half_done(site: Site) -> list[HalfDone]:
    """What was begun and has no outcome: `{run, op, instance, port, release, previous, since}`, oldest first."""
    return open_intents(read(site))


def open_intents(entries: list[Entry]) -> list[HalfDone]:
    """`half_done` of entries already read.

    The outcome of a later run settles what an earlier one left open on the same instance or the same port.
    """
    left: list[Entry] = []
    for entry in entries:
        event = entry.get("event")
        if event not in ("intent", "outcome"):
            continue
        left = [earlier for earlier in left if not _settles(entry, earlier)]
        if event == "intent":
            left.append(entry)
    return [
        {
            "run": entry.get("run"),
            "op": entry.get("op"),
            "instance": entry.get("instance"),
            "port": entry.get("port"),
            "release": entry.get("release"),
            "previous": entry.get("previous"),
            "since": entry.get("ts"),
        }
        for entry in left
    ]


def _settles(entry: Entry, earlier: Entry) -> bool:
    same_work = entry.get("op") == earlier.get("op") and entry.get("instance") == earlier.get("instance")
    port = entry.get("port")
    return same_work or (port is not None and port == earlier.get("port"))


def parse_line(line: bytes) -> Entry | None:
    """The entry of one line; None for a torn line, and for one whose fields have other types than ours."""
    try:
        entry = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return cast("Entry", entry) if isinstance(entry, dict) and _is_sound(entry) else None


def _is_sound(entry: dict[str, Any]) -> bool:
    numbers_fit = _is_moment(entry.get("ts", 0)) and _is_moment(entry.get("duration_s", 0), optional=True)
    texts_fit = all(isinstance(entry.get(key), (str, type(None))) for key in _TEXTS)
    slot_fits = isinstance(entry.get("instance"), (int, str, type(None))) and isinstance(
        entry.get("port"), (int, type(None))
    )
    return numbers_fit and texts_fit and slot_fits


def _is_moment(value: Any, optional: bool = False) -> bool:
    if value is None:
        return optional
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LAST_MOMENT


def _is_torn(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"


def _write_whole(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
