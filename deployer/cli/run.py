"""Runs one command: events to the chosen listener, errors as one block, the exit status of the contract."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import typer

from deployer.cli.options import Common
from deployer.errors import DeployError, InterruptedRun
from deployer.events import Bus
from deployer.report.lines import error_block
from deployer.report.listeners import listener
from deployer.rollout.record import Record

T = TypeVar("T")


def run_id() -> str:
    """A name for this run: UTC time and process number, sortable and unique enough for one team."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"


def performer() -> str:
    """Who runs this: `user@machine`, for locks and ledgers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def carry_out(command: str, common: Common, work: Callable[[Bus, Record, threading.Event], object]) -> None:
    """Calls `work(bus, record, interrupted)`, reports how it ended, and exits with the contract's status.

    Ctrl-C once sets `interrupted`, and the work winds up; twice raises KeyboardInterrupt at once.
    """
    bus = Bus(listener(common.output), run=run_id())
    record = Record(command)
    interrupted = threading.Event()
    error: DeployError | None = None
    handler = _first_then_now(interrupted)
    # Pipelines stop their jobs with SIGTERM.
    previous = {signum: signal.signal(signum, handler) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        work(bus, record, interrupted)
    except DeployError as raised:
        error = raised
    except KeyboardInterrupt:
        error = InterruptedRun("stopped at once", hint=f"deploy status shows what is left; deploy {command} heals it")
    finally:
        for signum, old in previous.items():
            signal.signal(signum, old)
    finished = record.finish(error)
    if error is not None and common.output != "json":
        print(error_block(error), file=sys.stderr)
    bus.emit(finished)
    if finished.exit_status:
        raise typer.Exit(finished.exit_status)


def reported(look: Callable[[], T], common: Common) -> T:
    """The answer of a look that is no run; an error is shown as everywhere, and ends with its status."""
    try:
        return look()
    except DeployError as error:
        bus = Bus(listener(common.output))
        if common.output == "json":
            bus.emit(Record("look").finish(error))
        else:
            print(error_block(error), file=sys.stderr)
        raise typer.Exit(error.exit_status) from None


def _first_then_now(interrupted: threading.Event) -> Callable[[int, object], None]:
    def handle(signum: int, frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        print("winding up: the instance in hand is finished first; Ctrl-C again stops at once", file=sys.stderr)

    return handle
