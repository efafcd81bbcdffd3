"""Runs one command: events to the chosen listener, errors as one block, the exit status of the contract."""

from __future__ import annotations

import contextlib
import errno
import getpass
import itertools
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

import typer

from deployer.cli.options import Common
from deployer.errors import DeployError, StoppedAtOnce, UsageError
from deployer.events import Bus, naming_environment
from deployer.report.lines import error_block
from deployer.report.listeners import WhileRead, listener
from deployer.report.shown_output import ShownOutput
from deployer.rollout.record import Record

T = TypeVar("T")

# The exit statuses that this process has told by a closing event: one at most.
_told: list[int] = []


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


WINDING_UP = "winding up: the instance in hand is finished first; Ctrl-C again stops at once"


def carry_out(
    command: str,
    common: Common,
    work: Callable[[Bus, Record, threading.Event], object],
    *,
    winding_up: str = WINDING_UP,
    events_to: TextIO | None = None,
) -> None:
    """Calls `work(bus, record, interrupted)`, reports how it ended, and exits with the contract's status.

    Ctrl-C once sets `interrupted`, and the work winds up; twice raises KeyboardInterrupt at once. A terminal or pipe
    that goes away is as one Ctrl-C. A fault of the program itself is shown with its traceback, and ends the run with 1.
    `winding_up` is what the first Ctrl-C is answered. `events_to`: where events go, in place of the standard output.
    """
    interrupted = threading.Event()

    def unread() -> None:
        interrupted.set()
        _forget_output()

    shown = WhileRead(listener(common.output, events_to), unread)
    read_already = ShownOutput()
    bus = Bus(naming_environment(shown, lambda: common.environment.name), read_already, run=run_id())
    record = Record(command)
    error: DeployError | None = None
    previous = _handled(_first_then_now(interrupted, winding_up))
    try:
        work(bus, record, interrupted)
    except DeployError as raised:
        error = raised
    except KeyboardInterrupt:
        error = StoppedAtOnce(
            "stopped at once; the hosts wind up by themselves",
            hint="deploy status {env} shows what is left; deploy push {env} --wait 5m heals it",
        )
    except Exception as fault:
        error = _fault(fault)
    finally:
        for signum, old in previous.items():
            signal.signal(signum, old)
    if error is not None:
        error.name_environment(common.environment.name)
    finished = record.finish(error)
    if error is not None and common.output != "json":
        _say(error_block(error, log_is_shown=read_already.has_all(error.log)))
    bus.emit(finished)
    _told.append(finished.exit_status)
    if finished.exit_status:
        raise typer.Exit(finished.exit_status)


@contextlib.contextmanager
def told_as_json(words: Sequence[str]) -> Iterator[None]:
    """Whoever asked for JSON lines gets one for a mistake in the command line too, which Typer tells on stderr."""
    try:
        yield
    except SystemExit as end:
        json_wanted = (
            any(pair == ("--output", "json") for pair in itertools.pairwise(words)) or "--output=json" in words
        )
        if end.code == UsageError.exit_status and json_wanted and not _told:
            Bus(listener("json"), run=run_id()).emit(
                Record("usage").finish(UsageError("the command line is wrong", hint="stderr says how"))
            )
        raise


def reported(look: Callable[[], T], common: Common) -> T:
    """The answer of a look that is no run; an error is shown as everywhere, and ends with its status."""
    try:
        return look()
    except DeployError as error:
        bus = Bus(listener(common.output))
        if common.output == "json":
            bus.emit(Record("look").finish(error))
            _told.append(error.exit_status)
        else:
            _say(error_block(error))
        raise typer.Exit(error.exit_status) from None


def _handled(handler: Callable[[int, object], None]) -> dict[signal.Signals, Any]:
    """Installs the handler for what stops a run; returns the handlers that were there."""
    # Pipelines stop their jobs with SIGTERM; a terminal that closes sends SIGHUP, which `nohup` has ignored.
    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    return {signum: signal.signal(signum, handler) for signum in wanted}


def _first_then_now(interrupted: threading.Event, winding_up: str) -> Callable[[int, object], None]:
    def handle(signum: int, frame: object) -> None:
        # A closing terminal sends SIGHUP twice, by the kernel and by the shell.
        if interrupted.is_set() and signum != signal.SIGHUP:
            raise KeyboardInterrupt
        interrupted.set()
        _say(winding_up)

    return handle


def _forget_output() -> None:
    """What is still in stdout's buffer goes nowhere: Python would try it once more at its end, and complain."""
    with contextlib.suppress(OSError):  # it may be no file at all
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)


_ABOUT_FILES = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG),
        *(errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EIO, errno.EMFILE, errno.ENFILE),
    }
)
"""Why the system refuses a file: for a reason that is a person's to mend, and not a fault of this program."""


def _fault(fault: Exception) -> DeployError:
    """The error for what should not have happened, after its traceback was shown; a file that cannot be used is one."""
    if isinstance(fault, OSError) and fault.errno in _ABOUT_FILES and fault.filename is not None:
        return UsageError(
            "a file or folder of this machine cannot be used",
            file=os.fsdecode(fault.filename) if isinstance(fault.filename, bytes | str) else str(fault.filename),
            cause=fault.strerror,
            code="local_file",
        )
    _say("".join(traceback.format_exception(fault)))
    text = f"{type(fault).__name__}: {fault}"
    return DeployError("this is a fault of deploy itself", cause=text, hint="report it with the lines above")


def _say(text: str) -> None:
    """To stderr, if anybody is there."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
