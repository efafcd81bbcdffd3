"""Runs one program for an operation: a process group of its own, bounded output, and no way to hang.

What a program starts and leaves behind on purpose (a daemon) is not waited for, even if it kept our pipes open.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Callable

from deployer.agent.operation import OpError
from deployer.agent.system import procfs

OUT_OF_MEMORY = (
    "nothing here sent that SIGKILL: most often it is the kernel, out of memory (look at `dmesg` there): give the host "
    "more, raise unit.MemoryMax, or lower runtime.workers; then type deploy push {env}"
)
"""What to type where a program was killed and no one said that they did."""

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 16
_TERM_GRACE = 5.0  # seconds between TERM and KILL
_LINGER = 0.3  # seconds of silence granted to pipes that a left-behind child keeps open
_LONGEST_LINGER = 2.0  # seconds granted to a left-behind child that goes on printing
_UNKILLABLE = 10.0  # seconds after KILL until a process that the kernel does not end is left alone
_TICK = 0.1  # seconds between looks at the clock, the process and the cancel event


@dataclass(frozen=True)
class Finished:
    """How a program ended.

    `exit` is its exit status as a shell tells it: 127 not found, 126 not executable, 128 + N killed by signal N.
    `stdout` and `stderr` hold at most `limit` bytes each, the last ones. `seconds` is how long it ran, and `timeout`
    how long it was allowed to. `started` is false when there was no such program, or it could not be executed;
    `stderr` says why.
    """

    exit: int
    signal: int | None
    stdout: str
    stderr: str
    timed_out: bool
    seconds: float
    cancelled: bool = False
    started: bool = True
    timeout: float = 0.0

    @property
    def ok(self) -> bool:
        """It ended by itself with status 0."""
        return self.exit == 0 and not self.timed_out and not self.cancelled

    @property
    def why(self) -> str:
        """The ending in words: `exit status 3`, `killed by SIGKILL`, `timed out after 30 s`."""
        if self.timed_out:
            return "timed out after %g s" % (self.timeout or round(self.seconds))
        if self.cancelled:
            return "was cancelled"
        if self.signal is not None:
            return "killed by " + signal_name(self.signal)
        return "exit status %d" % self.exit

    @property
    def hint(self) -> str:
        """What usually ends a program so, as advice; empty where nothing speaks for one cause."""
        killed = self.exit == 128 + signal.SIGKILL and not (self.timed_out or self.cancelled)
        return OUT_OF_MEMORY if killed else ""

    def log(self, lines: int = 20) -> list[str]:
        """The last lines it printed: errors, or what it said on stdout if there were none."""
        return tail(self.stderr if self.stderr.strip() else self.stdout, lines)


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    user: str = "",
    input: bytes | None = None,
    on_line: Callable[[str], None] | None = None,
    limit: int = 1 << 20,
    merge_stderr: bool = False,
    cancelled: threading.Event | None = None,
    errors: str = "replace",
    terminal: Members | None = None,
    inherit_stderr: bool = False,
) -> Finished:
    """Runs `argv` in a session of its own and waits for it.

    Args:
        argv: the program and its arguments; no shell.
        timeout: seconds until TERM, and KILL 5 seconds later, go to the whole process group and all descendants.
        cwd: the folder to run in; the agent's own by default.
        env: the complete environment; the agent's own by default (with HOME, USER, LOGNAME of `user`).
        user: whom to run as, when the agent is root; ignored otherwise.
        input: bytes for stdin; /dev/null by default.
        on_line: called with every line of stdout and stderr as it comes, without its newline.
        limit: bytes of each stream that are kept, the last ones.
        merge_stderr: stderr goes where stdout goes.
        cancelled: when set, the group is ended as at a timeout.
        errors: what becomes of stdout that is not UTF-8, as in `bytes.decode`; stderr is mended (`replace`).
        terminal: keeps the program in this session with this stdin, so that it may ask at the terminal; these are the
            processes that a timeout ends then.
        inherit_stderr: stderr is this process's own.

    Raises:
        OpError `no_user`: the user does not exist.
    """
    began = time.monotonic()
    switch = _switch_to(user)
    if env is None and switch:
        env = {**_plain_environ(), **switch.pop("environ")}
    switch.pop("environ", None)
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=_stdin(input, terminal),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge_stderr else None if inherit_stderr else subprocess.PIPE,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            start_new_session=terminal is None,
            bufsize=0,
            **switch,
        )
    except OSError as error:
        status = 127 if isinstance(error, FileNotFoundError) else 126
        message = f"{error.filename or (argv[0] if argv else '')}: {error.strerror or error}"
        return Finished(status, None, "", message, False, time.monotonic() - began, started=False)
    members = terminal or _Group(process.pid)
    return _Watch(process, members, input, on_line, limit, cancelled, errors).until_end(began, timeout)


def _stdin(input: bytes | None, terminal: Members | None) -> int | None:
    if input is not None:
        return subprocess.PIPE
    return None if terminal else subprocess.DEVNULL


class Members:
    """The processes that a program consists of, for whoever has to end all of them."""

    def signal(self, number: int) -> None:
        """Sends a signal to all of them; those that have gone are skipped."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Whether one of them lives."""
        raise NotImplementedError


class _Group(Members):
    """The process group that the program leads, and its descendants that left it (setsid) before the first signal."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._others: list[procfs.Process] | None = None

    def signal(self, number: int) -> None:
        if self._others is None:  # later the parents are gone, and with them the way to these
            self._others = [below for below in procfs.descendants(self._pid) if not _leads(self._pid, below.pid)]
        kill_group(self._pid, number)
        for other in filter(procfs.alive, self._others):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(other.pid, number)

    def alive(self) -> bool:
        return group_alive(self._pid) or any(map(procfs.alive, self._others or ()))


def _leads(leader: int, pid: int) -> bool:
    """Whether a process is in the group of `leader`, or gone."""
    try:
        return os.getpgid(pid) == leader
    except ProcessLookupError:
        return True


def _plain_environ() -> dict[str, str]:
    """What another user may have of the agent's environment: nothing of root's session (SSH_*, XDG_*, DBUS_*)."""
    kept = {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "SHELL": "/bin/sh", **kept}


def tail(text: str, lines: int = 20) -> list[str]:
    """The last `lines` lines of `text` that are not empty at its end, without newlines."""
    return [line.rstrip() for line in text.rstrip().splitlines()[-lines:]] if lines > 0 else []


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 77` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def kill_group(pid: int, number: int) -> None:
    """Sends a signal to the process group `pid` leads; nothing happens when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def group_alive(pid: int) -> bool:
    """Whether anyone is left in the process group that `pid` leads or led."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _switch_to(user: str) -> dict[str, Any]:
    """Popen's arguments for another user, and the `environ` that goes with it; empty for no change."""
    if not user or os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise OpError("no_user", f"this host has no user {user}", "deploy setup {env} creates it") from None
    if entry.pw_uid == os.geteuid():
        return {}
    return {
        "user": entry.pw_uid,
        "group": entry.pw_gid,
        "extra_groups": os.getgrouplist(user, entry.pw_gid),
        "environ": {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user},
    }


class _Tail:
    """The last `limit` bytes of a stream, and its lines as they come."""

    def __init__(self, limit: int, on_line: Callable[[str], None] | None, errors: str) -> None:
        self._limit = limit
        self._on_line = on_line
        self._errors = errors
        self._kept = bytearray()
        self._line = bytearray()

    def feed(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > 2 * self._limit:
            del self._kept[: -self._limit]
        if self._on_line is None:
            return
        self._line += data
        *lines, rest = bytes(self._line).split(b"\n")
        self._line = bytearray(rest)
        for line in lines:
            self._say(line)
        if len(self._line) > _LONGEST_LINE:
            self.end()

    def end(self) -> None:
        """Says what came after the last newline."""
        if self._line:
            self._say(bytes(self._line))
            self._line.clear()

    def text(self) -> str:
        kept = bytes(self._kept[-self._limit :]) if self._limit else b""
        return kept.decode("utf-8", self._errors)

    def _say(self, line: bytes) -> None:
        if self._on_line is not None:
            self._on_line(line.rstrip(b"\r").decode("utf-8", "replace"))


class _Watch:
    """One running program: feeds it, listens to it, ends it in time."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        members: Members,
        input: bytes | None,
        on_line: Callable[[str], None] | None,
        limit: int,
        cancelled: threading.Event | None,
        errors: str,
    ) -> None:
        self._process = process
        self._members = members
        self._unsent = memoryview(input or b"")
        self._cancelled = cancelled
        self._out, self._err = _Tail(limit, on_line, errors), _Tail(limit, on_line, "replace")
        self._selector = selectors.DefaultSelector()
        self._reading = 0
        for pipe, sink in ((process.stdout, self._out), (process.stderr, self._err)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, sink)
                self._reading += 1
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    def until_end(self, began: float, timeout: float) -> Finished:
        timed_out = cancelled = False
        ended = False
        kill_at: float | None = None
        silent_since: float | None = None
        ended_at: float | None = None
        try:
            while not ended:
                heard = self._turn()
                now = time.monotonic()
                if self._process.poll() is not None and kill_at is not None:
                    ended = now >= kill_at or not self._members.alive()
                    time.sleep(0 if ended else 0.01)
                elif self._process.poll() is not None:
                    silent_since = now if heard or silent_since is None else silent_since
                    ended_at = now if ended_at is None else ended_at
                    ended = not self._reading or now - silent_since > _LINGER or now - ended_at > _LONGEST_LINGER
                elif kill_at is None:
                    timed_out = now - began >= timeout
                    cancelled = not timed_out and self._cancelled is not None and self._cancelled.is_set()
                    if timed_out or cancelled:
                        self._members.signal(signal.SIGTERM)
                        kill_at = now + _TERM_GRACE
                elif now >= kill_at:  # the leader ignored TERM
                    self._members.signal(signal.SIGKILL)
                    ended = now >= kill_at + _UNKILLABLE  # it hangs in the kernel, for example on a dead disk
        except BaseException:
            self._members.signal(signal.SIGKILL)
            raise
        finally:
            if kill_at is not None:
                self._members.signal(signal.SIGKILL)  # whoever of the group outlived its leader
            self._close()
        return replace(self._finished(timed_out, cancelled, time.monotonic() - began), timeout=timeout)

    def _turn(self) -> bool:
        """Moves what can be moved, for at most a tick; True if the program said something."""
        heard = False
        if not self._selector.get_map():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_TICK)
            return False
        for key, _ in self._selector.select(_TICK):
            if key.data is None:
                self._write(key.fd, key.fileobj)
            else:
                heard = self._read(key.fd, key.fileobj, key.data) or heard
        return heard

    def _read(self, fd: int, pipe: Any, sink: _Tail) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            sink.feed(data)
            return True
        self._selector.unregister(pipe)
        pipe.close()
        self._reading -= 1
        return False

    def _write(self, fd: int, pipe: Any) -> None:
        try:
            self._unsent = self._unsent[os.write(fd, self._unsent[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # it does not want the rest
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._selector.unregister(pipe)
            pipe.close()

    def _close(self) -> None:
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_TICK)
        self._out.end()
        self._err.end()

    def _finished(self, timed_out: bool, cancelled: bool, seconds: float) -> Finished:
        code = self._process.returncode
        if code is None:  # not even KILL has ended it
            code = -signal.SIGKILL
        number = -code if code < 0 else None
        status = 128 - code if code < 0 else code
        return Finished(status, number, self._out.text(), self._err.text(), timed_out, seconds, cancelled)
