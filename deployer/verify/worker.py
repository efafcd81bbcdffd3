"""The process that runs checks, apart from `deploy`: a check may print, exit, crash or hang without harm to a run.

It imports pytest and testinfra once and forks for every round, so that no round sees another's modules or settings. Its
standard input and output carry the messages of `deployer.verify.wire`; what checks print goes to its standard error.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from deployer.verify import fixtures
from deployer.verify.backend import open_host
from deployer.verify.fixtures import Target
from deployer.verify.model import CheckResult, CommandResult
from deployer.verify.plugin import ChecksPlugin
from deployer.verify.pytest_run import run_pytest
from deployer.verify.wire import Round, receive, send


def main() -> None:
    """Run rounds until standard input ends."""
    requests, replies = _take_over_standard_streams()
    while (message := receive(requests)) is not None:
        child = os.fork()
        if child == 0:
            _run_round(Round.from_wire(message), requests, replies)
        status = _wait_for_child(child, requests)
        with contextlib.suppress(OSError):
            send(replies, {"done": status})


def _take_over_standard_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Return the streams for messages, out of reach of the checks: they get no input, and print to standard error."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    return requests, replies


def _run_round(checks: Round, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Run one round, and end this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    status = 1
    try:
        send(replies, {"end": _pytest_round(checks, requests, replies)})
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _pytest_round(checks: Round, requests: IO[bytes], replies: IO[bytes]) -> dict[str, Any]:
    def run_on_host(host: str, command: str) -> CommandResult:
        send(replies, {"host": host, "command": command})
        answer = receive(requests)
        if answer is None:
            os._exit(1)  # deploy has ended
        if "error" in answer:
            raise ConnectionError(answer["error"])
        return CommandResult(answer["exit"], answer["stdout"], answer["stderr"])

    def report(result: CheckResult) -> None:
        send(replies, {"result": asdict(result)})

    def target(name: str, variables: Mapping[str, Any]) -> Target:
        return Target(name, open_host(name, run_on_host), SimpleNamespace(**variables))

    targets = {Path(file): [target(*pair) for pair in pairs] for file, pairs in checks.targets.items()}
    plugin = ChecksPlugin(Path(checks.folder), targets, report)
    status = run_pytest(Path(checks.folder), tuple(targets), [fixtures, plugin])
    return {"status": status, "crash": plugin.crash}


def _wait_for_child(child: int, requests: IO[bytes]) -> int:
    """Return the child's exit status (negative: the signal that ended it); ends it when `deploy` has ended."""
    awake, wake = os.pipe()
    os.set_blocking(wake, False)
    before = signal.signal(signal.SIGCHLD, lambda signum, frame: None), signal.set_wakeup_fd(wake)
    poll = select.poll()
    poll.register(awake, select.POLLIN)
    poll.register(requests, 0)  # reports only that the other side has gone
    try:
        while True:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if any(fd == requests.fileno() for fd, _ in poll.poll()):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return -signal.SIGKILL
            with contextlib.suppress(BlockingIOError):
                os.read(awake, 64)
    finally:
        signal.signal(signal.SIGCHLD, before[0])
        signal.set_wakeup_fd(before[1])
        os.close(awake)
        os.close(wake)


if __name__ == "__main__":
    main()
