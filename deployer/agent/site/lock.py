"""The lock of one app and environment on one host, and the short lock for what all apps of a host share.

Both are kernel locks (flock), so neither can go stale: they end with their holder, whatever the file says. The file's
content only tells others who that is. Nobody inherits them: programs because of O_CLOEXEC,
forks because they drop them.

Only their owner may open the files: flock takes a descriptor that can only be read, so whoever may read a lock's file
may hold it. Files of earlier versions, which everybody could read, are replaced.

A holder also touches the file of the site's lock every few seconds. One that does not is stopped (SIGSTOP), frozen or
hangs: it keeps the lock and does nothing any more, and others are told so.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from deployer.agent.channel import shutdown
from deployer.agent.model.layout import OnSite, Site
from deployer.agent.model.messages import lock as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, ownership
from deployer.agent.system import files

_POLL = 0.25  # seconds
_TELL_EVERY = 10.0  # seconds between signs of life while waiting
_GLANCE = 0.2  # seconds that `wait: 0` still takes, for somebody may just be looking (`holder`)

_PULSE_S = 5.0  # how often a holder touches the file
_SILENT_S = 30.0  # without a touch for so long, a holder is taken for stopped
_NOBODY = dict.fromkeys(("who", "run", "command", "since", "pid", "lost", "until", "silent"))

# path → descriptor of the site locks that this process holds until `lock.release` or its end. The kernel keeps the
# truth; this is only how to give one back.
_held: dict[str, int] = {}


class _Pulse:
    """The thread that touches what shows life, descriptors and paths. It runs as long as there is anything to touch."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # adding, removing and the thread's decision to end exclude each other
        self._touched: set[int | str] = set()
        self._running = False

    def add(self, file: int | str) -> None:
        with self._mutex:
            self._touched.add(file)
            if not self._running:
                self._running = True
                threading.Thread(target=self._beat, name="lock-pulse", daemon=True).start()

    def remove(self, file: int | str) -> None:
        """Stops touching `file`, a descriptor of which is then free to be closed and used anew."""
        with self._mutex:
            self._touched.discard(file)

    def _beat(self) -> None:
        while self._touch_all():
            time.sleep(_PULSE_S)

    def _touch_all(self) -> bool:
        with self._mutex:
            for file in self._touched:
                with contextlib.suppress(OSError):
                    os.utime(file)
            self._running = bool(self._touched)
            return self._running


_pulse = _Pulse()


@operation(wire.TAKE)
def take(ctx: Context, request: wire.TakeLock) -> wire.LockTaken:
    """Takes the site's lock and keeps it until `lock.release` or the agent's end; safe to repeat.

    While it waits: events `waiting` with the holder at once, when the holder changes, and every 10 seconds.

    Raises:
        OpError: `locked` (detail: the holder), `cancelled`, `not_set_up`, `not_ours` (the root belongs to another app
            or environment).
    """
    site = Site.of(request)
    ownership.require_ours(site)
    command = request.get("command")
    note: dict[str, object] = {"who": request["who"], "run": request["run"], "command": command}
    note.update(since=round(time.time(), 3), pid=os.getpid(), pulse=_PULSE_S)
    if site.lock in _held:
        _describe(_held[site.lock], {**note, "since": (_content(_held[site.lock]) or {}).get("since", note["since"])})
        return {"taken": True}
    fd = _wait_for(ctx, site, float(request.get("wait") or 0))
    _describe(fd, note)
    _held[site.lock] = fd
    _pulse.add(fd)
    ownership.claim(site)
    shutdown.on_notice(lambda until: _note_loss(site, until))
    if command:
        ledger.append(site, {"event": "begun", "run": request["run"], "who": request["who"], "command": command})
    shutdown.escape_session()
    return {"taken": True}


@operation(wire.RELEASE)
def release(ctx: Context, request: OnSite) -> wire.LockReleased:
    """Gives the site's lock back."""
    fd = _held.pop(Site.of(request).lock, None)
    if fd is None:
        return {"released": False}
    _pulse.remove(fd)
    os.ftruncate(fd, 0)
    os.close(fd)
    return {"released": True}


@operation(wire.ASK)
def ask(ctx: Context, request: wire.RequestStop) -> wire.StopRequested:
    """Asks the run that holds the site's lock to stop.

    The request lies in a file that names the run, so that no later one takes it for its own.
    """
    site = Site.of(request)
    current_holder = holder(site)
    if current_holder is not None:
        stop = {"run": current_holder["run"], "who": request["who"], "since": round(time.time(), 3)}
        files.write(_stop_request(site), json.dumps(stop).encode("utf-8"), 0o644)
    return {"holder": current_holder}


@operation(wire.ASKED)
def cancel_requested_by(ctx: Context, request: wire.ReadStopRequest) -> wire.StopRequest:
    """Reads whether somebody asked a run to stop."""
    try:
        with open(_stop_request(Site.of(request)), encoding="utf-8") as file:
            stop = json.load(file)
    except (OSError, ValueError):
        return {"by": None}
    return {"by": stop["who"] if stop.get("run") == request["run"] else None}


def _stop_request(site: Site) -> str:
    return site.state + "/cancel.json"


def holder(site: Site) -> wire.Holder | None:
    """Who holds the site's lock now; None when nobody does, or it may not be read.

    Returns:
        `who, run, command, since` (seconds since the epoch) and `pid` of the agent. When its controller is gone also
        `lost`, since when, and `until`, by when the agent has wound up and the lock is free; else both are None.
        `silent`: seconds for which the agent has shown no sign of life; None while it does.
    """
    own_descriptor = _held.get(site.lock)
    if own_descriptor is not None:
        return _content(own_descriptor)
    try:
        fd = os.open(site.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # Whoever gives the lock back empties the file, so the usual look tries no lock and is in nobody's way.
        if os.fstat(fd).st_size == 0 or _try(fd, fcntl.LOCK_SH):
            return None
        return _content(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def host_lock(site: Site, bound: float = 60.0) -> Iterator[None]:
    """Holds the host's short lock, for files that all apps share and for balancer reloads.

    Waits at most `bound` seconds; then OpError `host_busy`. Not to be taken twice by one caller.
    """
    fd = _poll(lambda: _attempt(site.host_lock), bound, 0.05)
    if fd is None:
        raise OpError(
            "host_busy",
            f"another deploy on this host has held {site.host_lock} for more than {bound:g} s",
            "wait for it to end, then type deploy {command} {env}",
        )
    try:
        yield
    finally:
        os.close(fd)


def _wait_for(ctx: Context, site: Site, wait: float) -> int:
    last: dict[str, Any] = {"at": time.monotonic() - _TELL_EVERY, "holder": None}

    def attempt() -> int | None:
        fd = _attempt(site.lock)
        if fd is None and (ctx.cancelled.is_set() or ctx.lost.is_set()):
            raise OpError("cancelled", "the run was cancelled while it waited for the lock")
        if fd is None and wait:
            now, current = time.monotonic(), _read_content(site.lock)
            if now - last["at"] >= _TELL_EVERY or (current != last["holder"] and current and current.get("who")):
                last.update(at=now, holder=current)
                ctx.emit({"event": "waiting", "holder": current})
        return fd

    fd = _poll(attempt, max(wait, _GLANCE), _POLL if wait else _GLANCE / 4)
    if fd is not None:
        return fd
    note = _read_content(site.lock) or {}
    raise OpError(
        "locked",
        f"{site.app} is locked by {_named(note)}",
        f"--wait 10m waits for it; deploy cancel {site.env} asks it to stop",
        detail={**_NOBODY, **note},
    )


def _poll(attempt: Callable[[], int | None], bound: float, pause: float) -> int | None:
    deadline = time.monotonic() + bound
    while True:
        fd = attempt()
        if fd is not None or time.monotonic() >= deadline:
            return fd
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))


def _attempt(path: str) -> int | None:
    """A descriptor that holds the lock of the file now at `path`; None when somebody else does."""
    while True:
        fd = _opened(path)
        try:
            if not _try(fd, fcntl.LOCK_EX):
                os.close(fd)
                return None
            if _is_at(fd, path):
                return fd if _is_private(fd) else _replace(fd, path)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # somebody removed or replaced the file meanwhile: this lock guards nothing


def _is_private(fd: int) -> bool:
    """Whether nobody else may open the file, as far as this user has a say in that."""
    status = os.fstat(fd)
    return status.st_uid != os.geteuid() or not status.st_mode & 0o077


def _replace(fd: int, path: str) -> int:
    """A private file in place of one that others may have open; its lock is held before the file is there.

    The lock of the old file is held meanwhile, and whoever waits for that one sees that it is gone. Its descriptor is
    closed.
    """
    fresh = path + ".new"
    new = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(new, 0o600)
        fcntl.flock(new, fcntl.LOCK_EX)
        os.rename(fresh, path)
    except BaseException:
        os.close(new)
        raise
    os.close(fd)
    return new


def _opened(path: str) -> int:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise OpError(
            "not_set_up",
            f"the lock {path} cannot be opened: {error.strerror}",
            "deploy setup {env} prepares the host",
        ) from error


def _try(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _describe(fd: int, note: Mapping[str, object]) -> None:
    data = json.dumps(note).encode("ascii") + b"\n"
    os.pwrite(fd, data, 0)  # before the end is cut: an empty file would say that nobody holds the lock
    os.ftruncate(fd, len(data))


def _note_loss(site: Site, until: float) -> None:
    """Writes down for others that the controller is gone, and `until` when (seconds since the epoch) this agent is."""
    fd = _held.get(site.lock)
    if fd is not None:
        note = {**(_content(fd) or {}), "pulse": _PULSE_S}
        _describe(fd, {**note, "lost": round(time.time(), 3), "until": round(until, 3)})


def _content(fd: int) -> wire.Holder | None:
    try:
        record = json.loads(os.pread(fd, 4096, 0).decode("utf-8"))
    except (OSError, ValueError):
        record = {}  # held, but its holder has not said yet who it is
    if not isinstance(record, dict):
        return None
    silent = time.time() - os.fstat(fd).st_mtime
    return {
        "who": record.get("who"),
        "run": record.get("run"),
        "command": record.get("command"),
        "since": record.get("since"),
        "pid": record.get("pid"),
        "lost": record.get("lost"),
        "until": record.get("until"),
        "silent": round(silent) if record.get("pulse") and silent > _SILENT_S else None,
    }


def _read_content(path: str) -> wire.Holder | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return _content(fd)
    finally:
        os.close(fd)


def _named(note: wire.Holder | None) -> str:
    if not note or not note.get("who"):
        return "an unknown holder"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(note.get("since") or 0))
    return f"{note['who']} (run {note.get('run')}, since {since}, process {note.get('pid')})"


def show_life(site: Site) -> None:
    """Touches the file of the site's lock until this process ends: it was given the lock by the agent that took it."""
    _pulse.add(site.lock)


def _drop_in_child() -> None:
    """A fork keeps the parent's lock alive as long as it has the descriptor, so it closes its copy at once."""
    global _pulse
    for fd in _held.values():
        with contextlib.suppress(OSError):
            os.close(fd)
    _held.clear()
    _pulse = _Pulse()  # its thread is not in the child


os.register_at_fork(after_in_child=_drop_in_child)
