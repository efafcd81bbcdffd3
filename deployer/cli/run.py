"""Runs one command: events to the chosen listener, errors as one block, the exit status of the contract."""

from __future__ import annotations

import contextlib
import errno
import getpass
import itertools
import os
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TextIO

import typer

from deployer.cli.interrupts import Interrupts
from deployer.cli.options import Common
from deployer.errors import DeployError, InterruptedRun, ProgramFault, StoppedAtOnce, UsageError
from deployer.events import Bus, Warned, naming_environment
from deployer.report.lines import error_block
from deployer.report.listeners import json_line, listener
from deployer.report.screen import Screen, show_cursor
from deployer.report.shown_output import ShownOutput
from deployer.report.signs import SignsOfLife
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.record import Record
from deployer.stopping import CLOSED_OUTPUT, StopRequest

# The exit statuses that this process has told by a closing event: one at most.
_reported_statuses: list[int] = []

_stopped_at_once_by: list[DeployError] = []

_LOOKING = frozenset(("plan", "status", "releases", "history", "logs", "hosts", "render", "doctor", "diff", "config"))
"""Commands that change nothing. Their output is their result, so no closing line follows."""

_CHANGES_NOTHING = _LOOKING | {"verify"}

_READER_LEFT = (errno.EPIPE, errno.EIO, errno.ECONNRESET)
"""Errors of the system for a pipe or terminal whose reader has gone; they are not failures."""


def run_id() -> str:
    """Return a name for this run: UTC time and process number, sortable and unique enough for one team."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"


def performer() -> str:
    """Who runs this: `user@machine`, for locks and ledgers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


STOPPING = "stopping; Ctrl-C again stops at once"
WINDING_UP = "winding up: the instance in hand is finished first; Ctrl-C again stops at once"


def carry_out(
    command: str,
    common: Common,
    work: Callable[[Invocation], object],
    *,
    wait: float = 0.0,
    winding_up: str | None = None,
    events_to: TextIO | None = None,
    backpressure: bool = False,
) -> None:
    """Call `work` with an invocation, report how it ended, and exit with the contract's status.

    Ctrl-C once sets `interrupted`, and the work winds up; twice ends the process within a second. A terminal or pipe
    that goes away is as one Ctrl-C. A fault of the program itself is shown with its traceback, and ends the run with 1.

    Args:
        command: the command's name, for the record.
        common: the options that every command has.
        work: what the command does.
        wait: seconds for which it may wait for the lock.
        winding_up: what the first Ctrl-C is answered, in place of the usual words.
        backpressure: for commands that change nothing: `work` waits where the output takes its lines too slowly.
        events_to: where events go, in place of the standard output.
    """
    interrupted = StopRequest()
    unwritten: list[OSError] = []

    def unread(error: OSError) -> None:
        if error.errno not in _READER_LEFT:
            unwritten.append(error)
        interrupted.request(CLOSED_OUTPUT)
        _forget_output()

    record = Record(command)
    looks = command in _CHANGES_NOTHING
    stopped = _stopped_at_once(looks)
    if winding_up is None:
        winding_up = STOPPING if looks else WINDING_UP
    with Screen(listener(common.output, events_to), unread, out=events_to, backpressure=backpressure) as screen:
        shown = naming_environment(screen, lambda: common.environment.name, command)
        read_already = ShownOutput()
        bus = Bus(shown, read_already, run=run_id(), flush=screen.flush)
        if common.output == "plain":
            bus.subscribe(SignsOfLife(screen))

        def wind_up() -> None:
            if sys.stderr.isatty() and common.output == "rich":
                bus.emit(Warned(winding_up))
            else:
                _say(winding_up)

        def last_words() -> None:
            screen.abandon()
            stopped.name_environment(common.environment.name)
            if common.output == "json":
                closing = replace(record.finish(stopped), run=bus.run)
                os.write(sys.stdout.fileno(), f"{json_line(closing)}\n".encode())
            else:
                show_cursor(sys.stdout)
                _say(error_block(stopped))

        with Interrupts(interrupted, wind_up=wind_up, last_words=last_words, status=stopped.exit_status):
            error = _run(work, Invocation(bus, record, interrupted, wait), stopped)
            _stopped_at_once_by.extend([error] if error is stopped else [])
            if error is not None:
                error.name_environment(common.environment.name, command)
            quiet = command in _LOOKING and common.output != "json"
            finished = replace(record.finish(error), silent=quiet)
            try:
                screen.flush()
                if unwritten and error is None:
                    error = DeployError("the output could not be written", cause=unwritten[0].strerror, code="output")
                    finished = replace(record.finish(error), silent=quiet)
                if error is not None and common.output != "json":
                    _say(error_block(error, log_is_shown=read_already.has_all(error.log)))
                bus.emit(finished)
                screen.close()
            except KeyboardInterrupt:  # the output is stopped, and nobody wants to wait for it
                screen.abandon()
                if common.output != "json":
                    show_cursor(sys.stdout)
                os._exit(finished.exit_status or InterruptedRun.exit_status)
    _reported_statuses.append(finished.exit_status)
    if finished.exit_status:
        raise typer.Exit(finished.exit_status)


def _run(work: Callable[[Invocation], object], invocation: Invocation, stopped: DeployError) -> DeployError | None:
    """Do the work; the error that it ended with."""
    try:
        work(invocation)
    except DeployError as raised:
        if (behind := ProgramFault.behind(raised)) is not None:
            invocation.bus.flush()
            _say("".join(traceback.format_exception(behind)))
        return raised
    except KeyboardInterrupt:
        return stopped
    except Exception as fault:
        invocation.bus.flush()
        return _fault(fault)
    return None


def _stopped_at_once(looks: bool) -> InterruptedRun:
    """Return the error after a second Ctrl-C. `looks`: the command changes nothing, so nothing is left to heal."""
    if looks:
        return InterruptedRun("stopped at once; nothing was changed")
    return StoppedAtOnce(
        "stopped at once; the hosts wind up by themselves",
        hint="deploy status {env} shows what is left; deploy push {env} --wait 5m heals it",
    )


def was_stopped_at_once() -> bool:
    """Return whether a command of this process ended by a second Ctrl-C, and may have left threads that wait
    for hosts."""
    return bool(_stopped_at_once_by)


@contextlib.contextmanager
def usage_errors_as_json(words: Sequence[str]) -> Iterator[None]:
    """Closes the JSON lines after a mistake in the command line, which Typer reports on stderr.

    Args:
        words: the command line. What follows `--` belongs to the user's own command.
    """
    try:
        yield
    except SystemExit as end:
        if end.code == UsageError.exit_status and _wants_json(words) and not _reported_statuses:
            Bus(listener("json"), run=run_id()).emit(Record("usage").finish(_usage_error(end.__context__)))
        raise


def _wants_json(words: Sequence[str]) -> bool:
    own = list(itertools.takewhile(lambda word: word != "--", words))
    return "--output=json" in own or ("--output", "json") in itertools.pairwise(own)


def _usage_error(mistake: BaseException | None) -> UsageError:
    """What Typer says about the command line, as one of our own errors."""
    format_message = getattr(mistake, "format_message", lambda: "the command line is wrong")
    context = getattr(mistake, "ctx", None)
    return UsageError(format_message().strip(), hint=f"{context.command_path if context else 'deploy'} --help")


def show_answer(command: str, common: Common, look: Callable[[Record], str]) -> None:
    """Prints the answer of a look that is no run, without a header or times; errors are shown as everywhere.

    Args:
        command: the command's name, for the record.
        common: the options that every command has.
        look: returns the text for people, and fills the record, which is the closing event in JSON lines.
    """
    record, error, text = Record(command), None, ""
    try:
        text = look(record)
    except DeployError as raised:
        error = raised
    except Exception as fault:
        error = _fault(fault)
    if error is not None:
        error.name_environment(common.environment.name, command)
    if common.output == "json":
        finished = record.finish(error)
        Bus(listener("json"), run=run_id()).emit(finished)
        _reported_statuses.append(finished.exit_status)
    elif error is not None:
        _say(error_block(error))
    else:
        typer.echo(text)
    if error is not None:
        raise typer.Exit(error.exit_status)


def _forget_output() -> None:
    """Discard the rest of stdout's buffer: Python would try to write it again at its end, and complain."""
    with contextlib.suppress(OSError):  # it may be no file at all
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)


_ABOUT_FILES = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG),
        *(errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO, errno.EIO),
        *(errno.EMFILE, errno.ENFILE),
    }
)
"""Errors of files that the user can fix, and that are not faults of this program."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def _fault(fault: Exception) -> DeployError:
    """Return the error for what should not have happened, after its traceback was shown; a file that cannot be used is
    one."""
    if isinstance(fault, OSError) and fault.errno in _ABOUT_FILES and fault.filename is not None:
        path = os.fsdecode(fault.filename) if isinstance(fault.filename, bytes | str) else str(fault.filename)
        return UsageError(
            "a file or folder of this machine cannot be used",
            file=path,
            cause=fault.strerror,
            hint=f"{'df -h -i' if fault.errno in _FULL else 'ls -ld'} {shlex.quote(path)}",
            code="local_file",
        )
    if isinstance(fault, FileNotFoundError) and not _has_current_folder():
        return UsageError(
            "the current folder does not exist any more", hint="cd into a folder that exists", code="folder"
        )
    _say("".join(traceback.format_exception(fault)))
    return ProgramFault.of(fault)


def _has_current_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _say(text: str) -> None:
    """Write a line to stderr, if it is open."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
