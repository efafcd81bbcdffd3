"""The logs of instances, processes and schedules, read from a cursor, so that no line is lost and none is shown twice.

A journal's cursor is journald's own. A file's cursor is an inode and an offset. When the file was rotated, reading goes
on in the file that has that inode now (`shop-8000.log.1`), and then in the newer ones.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import threading
import time
from typing import Any, BinaryIO, NamedTuple

from deployer.agent.model.layout import Site
from deployer.agent.model.messages import logs as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import links
from deployer.agent.system.threads import map_at_once

_PAGE_BYTES = 2 << 20  # bytes of all logs together in one answer; JSON makes at most six of one
_BLOCK_BYTES = 1 << 16
_JOURNAL_TIMEOUT_S = 30.0
_ROTATION_TRIES = 5
_TICK_S = 0.02  # how far a file's time may be behind the clock: the kernel sets it by its last tick
_JOURNAL_FILES = ("/var/log/journal/*/*.journal", "/run/log/journal/*/*.journal")
_JOURNAL_DELAY_S = 5.0  # seconds that journald may take to write a line down

Line = tuple[float, str]


class Page(NamedTuple):
    """Part of a log: `(time, text)` lines, the cursor after them, whether there is more, whether lines are missing.

    `unread` is how many bytes of a file wait behind the cursor; 0 for a journal, which does not tell.
    """

    lines: list[Line]
    cursor: dict[str, Any]
    more: bool = False
    gap: bool = False
    unread: int = 0

    def to_wire(self) -> wire.LogPage:
        """The page as JSON data."""
        return {
            "lines": self.lines,
            "cursor": self.cursor,
            "more": self.more,
            "gap": self.gap,
            "unread": self.unread,
        }


@operation(wire.READ)
def read(ctx: Context, request: wire.ReadLogs) -> wire.LogPages:
    """Reads the lines of each log after its cursor, oldest first; the last ones of a log that has no cursor yet.

    A slot that is not in use begins with no lines where another slot of the same instance is in use. One response has
    at most 2 MiB of lines. The time of a line is the journal's, or that of the file's last change.

    Raises:
        OpError: `no_times` (`seconds` is asked for, and a log does not tell), `unreadable`.
    """
    site, logs, now = Site.of(request), request["logs"], time.time()
    count, seconds = int(request.get("lines") or 0), int(request.get("seconds") or 0)
    idle = _idle(site, logs)
    budget = _PAGE_BYTES // max(1, len(logs))

    def read_log(name: str) -> Page:
        log, cursor = logs[name], logs[name].get("cursor")
        first = 0 if name in idle else count
        if log.get("journal"):
            return _read_journal(str(log["journal"]), cursor, first, seconds, budget)
        if seconds and not cursor:
            why = f"the log of {name} does not tell when a line was written"
            raise OpError("no_times", why, "leave --since out: -n says how many lines")
        return _read_file(str(log.get("file") or ""), cursor, first, budget, bool(request.get("partial")))

    pages = zip(logs, map_at_once(read_log, logs))
    return {"now": now, "logs": {name: page.to_wire() for name, page in pages}}


def _idle(site: Site, logs: dict[str, wire.LogSource]) -> list[str]:
    """The slots that are not in use while another slot of their instance is."""
    used = links.slots(site)
    busy = {log.get("index") for log in logs.values() if str(log.get("port")) in used}
    slots = {name: log for name, log in logs.items() if log.get("port") is not None}
    return [name for name, log in slots.items() if str(log["port"]) not in used and log.get("index") in busy]


# -- the journal -------------------------------------------------------------------------------------------------------


def _read_journal(unit: str, cursor: dict[str, Any] | None, lines: int, seconds: int, budget: int) -> Page:
    argv = ["journalctl", "--unit", unit, "--output", "json", "--output-fields", "MESSAGE", "--all"]
    argv += ["--no-pager", "--quiet"]
    started = time.time()
    if cursor is None:
        argv += ["--lines", str(max(lines, 1)), *(["--since", "-%ds" % seconds] if seconds else [])]
    elif "after" in cursor:
        return _journal_after(argv, cursor, budget)
    else:
        argv += ["--since", f"@{cursor['since']:.6f}"]
    entries, more, _, _ = _journal_entries(argv, budget)
    shown = entries if lines or cursor is not None else []
    # Without an entry there is no cursor of journald's yet. What it has not written down so far is newer than this.
    fresh = {"since": started - min(_JOURNAL_DELAY_S, seconds or _JOURNAL_DELAY_S)}
    after = {"after": entries[-1]["__CURSOR"]} if entries else cursor or fresh
    return Page(_timed_lines(shown), after, more)


def _journal_after(argv: list[str], cursor: dict[str, Any], budget: int) -> Page:
    """The entries after that of the cursor.

    journald may have removed it (vacuumed, rotated for want of room). Then `--after-cursor` would leave out the next
    entry too, without a word. So reading begins at the cursor's own entry, and lines may be missing where that is gone.
    """
    last = str(cursor["after"])
    try:
        answer = _journal_entries([*argv, "--cursor", last], budget, last)
    except OpError:  # the journal has no such place any more, and still knows the time
        since = int(_cursor_fields(last).get("t") or "0", 16) / 1e6
        answer = _journal_entries([*argv, "--since", f"@{since:.6f}"], budget, last)
    entries, more, present, whole = answer
    if not whole:  # journald rotates all the time: the next page tries again
        return Page([], cursor)
    known_gone = bool(cursor.get("gone"))
    if entries:
        after = {"after": entries[-1]["__CURSOR"]}
    else:
        after = {"after": last} if present else {"after": last, "gone": True}
    return Page(_timed_lines(entries), after, more, gap=not present and not known_gone)


def _cursor_fields(cursor: str) -> dict[str, str]:
    """The fields of a journal's cursor: of them `b` is the boot, `m` and `t` the times in hexadecimal microseconds."""
    return dict(field.partition("=")[::2] for field in cursor.split(";"))


def _is_entry(entry: dict[str, Any], cursor: str | None) -> bool:
    """Whether the cursor is that of `entry`, which has another sequence number once it was copied to another journal.

    journald copies entries where a persistent journal replaces a volatile one.
    """
    if cursor is None:
        return False
    own, other = _cursor_fields(entry["__CURSOR"]), _cursor_fields(cursor)
    return all(own.get(name) == other.get(name) for name in ("b", "m", "t", "x"))


def _timed_lines(entries: list[dict[str, Any]]) -> list[Line]:
    return [(_time_of(entry), text) for entry in entries for text in _texts(entry.get("MESSAGE"))]


class _Entries(NamedTuple):
    """What `journalctl` printed, whether there is more, whether the entry that was read before was there.

    `whole` is False when journald moved a file while `journalctl` opened them, which may have missed it then.
    """

    entries: list[dict[str, Any]]
    more: bool
    present: bool
    whole: bool = True


def _journal_entries(argv: list[str], budget: int, last: str | None = None) -> _Entries:
    """The entries that `journalctl` prints, up to `budget` bytes, without that of the cursor `last`.

    Asks again while journald rotates its files under the hands of `journalctl`.
    """
    for _ in range(_ROTATION_TRIES):
        answer = _run_journalctl(argv, budget, last)
        if answer.whole:
            break
    return answer


def _run_journalctl(argv: list[str], budget: int, last: str | None) -> _Entries:
    files = _journal_files()
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise OpError("unreadable", f"journalctl cannot be run: {error.strerror}") from error
    timer = threading.Timer(_JOURNAL_TIMEOUT_S, process.kill)
    timer.start()
    entries: list[dict[str, Any]] = []
    size, present, opened = 0, False, False
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        try:
            for line in process.stdout:
                if not opened and _journal_files() != files:
                    return _Entries([], True, False, whole=False)
                opened = True
                entry = _decoded(line)
                if entry is None:
                    return _Entries(entries, bool(entries), present)
                if _is_entry(entry, last):
                    present = True
                    continue
                entries.append(entry)
                size += len(line)
                if size >= budget:
                    return _Entries(entries, True, present)
            why = process.stderr.read().decode("utf-8", "replace").strip()
            if process.wait() and not entries and why:
                raise OpError("unreadable", f"journalctl failed: {why.splitlines()[-1]}")
        finally:
            timer.cancel()
            process.kill()
            process.wait()
    return _Entries(entries, False, present, whole=opened or _journal_files() == files)


def _journal_files() -> set[tuple[str, int]]:
    """The path and inode of each file of the journal. journald renames one when it rotates."""
    files = set()
    for pattern in _JOURNAL_FILES:
        for path in glob.iglob(pattern):
            try:
                files.add((path, os.stat(path).st_ino))
            except OSError:
                continue
    return files


def _decoded(line: bytes) -> dict[str, Any] | None:
    """One entry; None for a line that ends within, since journalctl was killed or broke off."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "__CURSOR" in entry else None


def _time_of(entry: dict[str, Any]) -> float:
    return int(entry.get("__REALTIME_TIMESTAMP") or 0) / 1e6


def _texts(message: Any) -> list[str]:
    """The lines of a message. journalctl writes text that is not UTF-8 as numbers, and a repeated field as a list."""
    if isinstance(message, list) and message and all(isinstance(byte, int) for byte in message):
        message = bytes(message).decode("utf-8", "replace")
    if isinstance(message, list):
        return [text for part in message for text in _texts(part)]
    return [line.rstrip() for line in str(message or "").split("\n")]


# -- files -------------------------------------------------------------------------------------------------------------


class _File(NamedTuple):
    """One of the files of a log: the one in use, or one that was rotated."""

    path: str
    inode: int
    changed: float


def _read_file(path: str, cursor: dict[str, Any] | None, lines: int, budget: int, partial: bool) -> Page:
    files = _files(path, cursor["inode"] if cursor else 0)
    start = cursor or _last_lines(files, lines)
    unread, gap = _unread(files, start)
    data, marks, more = bytearray(), [(0, start["inode"], start["offset"], start["read"])], False
    for file in unread:
        offset = start["offset"] if file.inode == start["inode"] else 0
        chunk, end = _chunk(file, offset, budget - len(data))
        if chunk is None:  # it was rotated a moment ago
            more = True
            break
        if end < offset:
            gap, offset = True, 0
            chunk, end = _chunk(file, 0, budget - len(data))
        marks.append((len(data), file.inode, offset, file.changed))
        data += chunk or b""
        if len(data) >= budget:
            more = True
            break
    size = data.rfind(b"\n") + 1
    if (partial and not more) or (not size and len(data) >= budget):
        size = len(data)
    before, inode, offset, _ = [mark for mark in marks if mark[0] <= size][-1]
    texts = bytes(data[:size]).decode("utf-8", "replace").split("\n")
    changed = marks[-1][3]
    timed_lines = [(changed, text.rstrip()) for text in (texts if texts[-1] else texts[:-1])]
    read_to = {"inode": inode, "offset": offset + size - before, "read": time.time()}
    return Page(timed_lines, read_to, more, gap, _bytes_after(unread, read_to) if more else 0)


def _bytes_after(files: list[_File], cursor: dict[str, Any]) -> int:
    """How many bytes the files have behind the cursor."""
    behind = 0
    for file in reversed(files):
        try:
            size = os.stat(file.path).st_size
        except OSError:
            continue
        if file.inode == cursor["inode"]:
            return behind + max(0, size - int(cursor["offset"]))
        behind += size
    return behind


def _files(path: str, inode: int) -> list[_File]:
    """The file at `path` and what it was rotated to (`.1` is the newest), oldest first.

    A listing may miss a file that is renamed meanwhile. So one without `inode` (0: any) is made again.
    """
    files: list[_File] = []
    for _ in range(_ROTATION_TRIES):
        files = _listed(path)
        if not inode or any(file.inode == inode for file in files):
            break
    return files


def _listed(path: str) -> list[_File]:
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"(?:\.([0-9]{1,4}))?\Z")
    numbered_files = []
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        match = pattern.match(entry.name)
        if match:
            try:
                about = entry.stat()
            except OSError:
                continue
            numbered_files.append((int(match.group(1) or 0), _File(entry.path, about.st_ino, about.st_mtime)))
    return [file for _, file in sorted(numbered_files, reverse=True)]


def _unread(files: list[_File], start: dict[str, Any]) -> tuple[list[_File], bool]:
    """The files that were not read to their end yet, oldest first, and whether one of them is gone."""
    if not start["inode"]:  # there was no file then
        return files, False
    for number, file in enumerate(files):
        if file.inode == start["inode"]:
            return files[number:], False
    return [file for file in files if file.changed >= start["read"] - _TICK_S], True


def _chunk(file: _File, offset: int, size: int) -> tuple[bytes | None, int]:
    """At most `size` bytes from `offset`, and the file's own size. None when another file has its name now."""
    try:
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, 0
    except OSError as error:
        raise OpError("unreadable", f"{file.path} cannot be read: {error.strerror}") from error
    try:
        about = os.fstat(fd)
        if about.st_ino != file.inode:
            return None, 0
        pieces, at = [], offset
        while at < min(offset + size, about.st_size):
            piece = os.pread(fd, min(_BLOCK_BYTES, offset + size - at), at)
            if not piece:
                break
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces), about.st_size
    finally:
        os.close(fd)


def _last_lines(files: list[_File], lines: int) -> dict[str, Any]:
    """The place from which there are `lines` lines to the end, or as many as there are."""
    place = {"inode": 0, "offset": 0, "read": 0.0 if lines else time.time()}
    for file in reversed(files):
        offset, missing = _from_end(file, lines)
        place = {"inode": file.inode, "offset": offset, "read": file.changed}
        if missing <= 0:
            break
        lines = missing
    return place


def _from_end(file: _File, lines: int) -> tuple[int, int]:
    """The offset from which there are `lines` lines to the end of the file, and how many it lacks for that."""
    try:
        with open(file.path, "rb") as opened:
            size = at = opened.seek(0, os.SEEK_END)
            ends_whole = _ends_with_newline(opened, size)
            # The newline that ends the last line is no start of another one.
            needed, seen = max(1, lines + int(ends_whole and lines > 0)), 0
            while at > 0:
                begin = max(0, at - _BLOCK_BYTES)
                opened.seek(begin)
                block = opened.read(at - begin)
                place = block.rfind(b"\n")
                while place >= 0:
                    seen += 1
                    if seen == needed:
                        return begin + place + 1, 0
                    place = block.rfind(b"\n", 0, place)
                at = begin
    except OSError:
        return 0, lines
    return 0, lines - seen - int(size > 0 and not ends_whole)


def _ends_with_newline(opened: BinaryIO, size: int) -> bool:
    opened.seek(max(0, size - 1))
    return opened.read(1) == b"\n"
