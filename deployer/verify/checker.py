"""The process that runs checks, seen from `deploy`: started when first needed, and kept for all rounds of a run."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from deployer.errors import ChecksError, InterruptedRun
from deployer.stopping import requester
from deployer.verify.model import CheckResult, Runner
from deployer.verify.wire import Round, send

SILENCE_S = 900.0
"""How long the process may neither ask for a command nor report a result before it counts as hung."""

STOPPING_S = 5.0
"""How long checks go on after a request to wind up, so that one that is short comes to its end."""

_GOODBYE_S = 2.0
_TICK_S = 0.25
_LAST_LINES = 20

# -P: nothing in the current folder is imported instead of ours. The rest of the import path is this process's own.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from deployer.verify.worker import main; main()"


class Checker:
    """Runs rounds of checks in a process of its own, one round at a time; a context manager.

    No check can reach this process's streams, signals, environment or modules. The process is in a session of its own,
    so that Ctrl-C on the terminal goes to `deploy` alone, and it ends when `deploy` does, in whatever way.

    Args:
        silence: seconds after which a process that reports nothing counts as hung.
        stop: once set, checks that still run after `STOPPING_S` are killed, whatever signals they ignore.
    """

    def __init__(self, silence: float = SILENCE_S, stop: threading.Event | None = None) -> None:
        self._silence = silence
        self._stop = stop
        self._kill_at: float | None = None
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._unread = b""
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    def run(self, checks: Round, runner: Runner, on_result: Callable[[CheckResult], None]) -> None:
        """Run one round; `runner` and `on_result` are called in this thread.

        An error of `runner` fails the check that called it, except for KeyboardInterrupt, which ends the round.

        Raises:
            ChecksError: pytest broke, a check ended its process, or nothing was heard of it for `silence` seconds.
            InterruptedRun: the checks were killed after a request to wind up.
        """
        with self._lock:
            process = self._started()
            try:
                ended = self._exchange(process, checks, runner, on_result)
            except OSError as error:
                self._kill()
                raise self._broken(checks, str(error)) from error
            except BaseException:
                self._kill()
                raise
        if ended["crash"] or ended["status"] not in (0, 1, 5):
            raise self._broken(checks, "", ended["crash"].splitlines())

    def close(self) -> None:
        """End the process. Never raises."""
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GOODBYE_S)
            self._kill()

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._lines.clear()
        self._unread = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps([path or os.getcwd() for path in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        printed = self._process.stderr
        assert printed is not None
        self._reader = threading.Thread(target=self._keep_last_lines, args=(printed,), name="check output", daemon=True)
        self._reader.start()
        return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], checks: Round, runner: Runner, on_result: Callable[[CheckResult], None]
    ) -> dict[str, Any]:
        """Answer the process's commands and pass results on, until the round ends: pytest's status and its crash."""
        requests, replies = process.stdin, process.stdout
        assert requests is not None and replies is not None
        send(requests, checks.to_wire())
        ended: dict[str, Any] | None = None
        while True:
            message = self._next(replies)
            if "command" in message:
                send(requests, _answer(runner, message["host"], message["command"]))
            elif "result" in message:
                on_result(CheckResult(**message["result"]))
            elif "end" in message:
                ended = message["end"]
            elif ended is not None:
                return ended
            else:
                raise OSError(f"a check ended their process with status {message['done']}")

    def _next(self, replies: IO[bytes]) -> dict[str, Any]:
        """Return the next message of the process; OSError when it has ended or is silent for too long."""
        deadline = time.monotonic() + self._silence
        self._require_going_on()
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if not select.select([replies], [], [], max(0.0, min(left, _TICK_S)))[0]:
                self._require_going_on()
                if left <= 0:
                    raise OSError(f"no check ended or used its host within {self._silence:g} s")
                continue
            data = os.read(replies.fileno(), 1 << 16)
            if not data:
                status = self._process.wait() if self._process is not None else 0
                raise OSError(f"their process ended with status {status}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _require_going_on(self) -> None:
        """Raise InterruptedRun when the time after a request to wind up is over."""
        if self._stop is None or not self._stop.is_set():
            return
        now = time.monotonic()
        self._kill_at = self._kill_at or now + STOPPING_S
        if now >= self._kill_at:
            raise InterruptedRun(f"stopped by {requester(self._stop)} while checks ran", step="checks")

    def _broken(self, checks: Round, cause: str, log: list[str] | None = None) -> ChecksError:
        lines = log or list(self._lines)
        return ChecksError(
            f"pytest could not run the checks in {checks.folder}",
            step="verify",
            cause=cause or None,
            log=lines[-_LAST_LINES:],
        )

    def _keep_last_lines(self, printed: IO[bytes]) -> None:
        with printed:
            for line in printed:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if self._reader is not None:
            self._reader.join(_GOODBYE_S)  # a daemon that a check left behind may hold the pipe
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _answer(runner: Runner, host: str, command: str) -> dict[str, Any]:
    try:
        result = runner(host, command)
    except Exception as error:
        return {"error": str(error) or type(error).__name__}
    return {"exit": result.exit, "stdout": result.stdout, "stderr": result.stderr}
