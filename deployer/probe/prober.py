"""The controller's handle on a running probe."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from deployer.errors import DeployError, UsageError
from deployer.probe.mixes import MIXES
from deployer.probe.preflight import target_of
from deployer.probe.receipt import Receipt

_START_WITHIN = 30.0


class Prober:
    """A probe process. It ends by `stop`, and with this process, whatever ends that."""

    def __init__(self, process: subprocess.Popen[str], limit: float) -> None:
        self._process = process
        self._limit = limit
        self._talking = threading.Lock()
        self._final: Receipt | None = None

    def mark(self, label: str) -> None:
        """Notes `label` in the probe's log. May be called from any thread."""
        with self._talking:
            self._tell("mark " + " ".join(label.split()))

    def snapshot(self) -> Receipt:
        """The receipt so far; after `stop`, the final one. From any thread. DeployError if the probe has died."""
        with self._talking:
            if self._final is not None:
                return self._final
            self._tell("snapshot")
            return Receipt.from_json(self._hear()["receipt"])

    def stop(self) -> Receipt:
        """Ends the traffic, waits for the requests under way and returns the final receipt; may be called twice.

        DeployError if the probe has died, or does not end within its limit a request and some seconds more.
        """
        watchdog = threading.Timer(self._limit + 15.0, self._process.kill)
        watchdog.start()
        try:
            with self._talking:
                if self._final is None:
                    self._tell("stop")
                    self._final = Receipt.from_json(self._hear()["receipt"])
                return self._final
        finally:
            self.close()
            watchdog.cancel()

    def close(self) -> None:
        """Ends the probe without waiting for the requests under way; may be called twice."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def wait_until_ready(self) -> None:
        """Returns once traffic has begun; DeployError if the probe died instead."""
        watchdog = threading.Timer(_START_WITHIN, self._process.kill)
        watchdog.start()
        try:
            with self._talking:
                self._hear()
        except DeployError:
            self.close()
            raise
        finally:
            watchdog.cancel()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            pass  # what it said last, or nothing, is heard next

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None and self._process.stderr is not None
        try:
            line = self._process.stdout.readline()
        except ValueError:
            raise DeployError("the probe has already ended", code="probe_died") from None
        if not line:
            log = self._process.stderr.read().splitlines()[-20:]
            raise DeployError(
                "the probe died", step="probe", cause=log[-1] if log else None, log=log, code="probe_died"
            )
        data: dict[str, Any] = json.loads(line)
        return data


def start(
    url: str,
    rate: float = 20.0,
    mix: str = "full",
    host_header: str | None = None,
    log_path: Path | None = None,
    releases_file: Path | None = None,
    limit: float = 10.0,
) -> Prober:
    """Starts a probe of `url` in a process of its own and returns once its traffic has begun.

    Args:
        url: `http[s]://host[:port][/path]`; nothing else is ever connected to.
        rate: requests a second, all kinds together.
        mix: `full` (every kind; the app must have the endpoints of the examples), `http` (the same without
            websockets), `get` (GETs of `url` itself, on new and on reused connections; any app; 500 and more fail)
            or `found` (the same for a URL that is known to answer: 400 and more fail).
        host_header: the Host to send, and the TLS name; the URL's own by default.
        log_path: a file to which one JSON line a request is appended.
        releases_file: the releases that may answer, one a line; it may grow while the probe runs. Without it, any may.
        limit: seconds until a request counts as late.

    Raises:
        UsageError: the URL, the mix or the rate makes no sense.
        DeployError: the process could not start.
    """
    _refuse(url, rate, mix, host_header)
    command = [sys.executable, "-m", "deployer.probe", url, f"--rate={rate}", f"--mix={mix}", f"--limit={limit}"]
    command += [f"--host-header={host_header}"] if host_header else []
    command += [f"--log={log_path}"] if log_path else []
    command += [f"--releases={releases_file}"] if releases_file else []
    # A session of its own: Ctrl-C ends the run, and what happens while it winds up is still to be seen.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    prober = Prober(process, limit)
    prober.wait_until_ready()
    return prober


def _refuse(url: str, rate: float, mix: str, host_header: str | None) -> None:
    target_of(url, host_header)
    if mix not in MIXES:
        raise UsageError(f"unknown mix {mix!r}", step="probe", hint="one of " + ", ".join(sorted(MIXES)))
    if not 0.1 <= rate <= 1000:
        raise UsageError(
            f"a rate of {rate:g} requests per second is not valid", step="probe", hint="0.1 to 1000; 20 is a good start"
        )
