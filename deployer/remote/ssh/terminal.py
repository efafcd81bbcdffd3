"""One program on a host, with this process's terminal, or with its plain streams, until it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from typing import Any

from deployer.remote.ssh.connection import Connection, closed_after

_CHUNK = 1 << 15  # bytes
_START_S = 30.0  # for the host to start the program
_STATUS_S = 5.0  # from the end of the output to the exit status
_TICK = 0.5  # seconds; a signal that changes the window's size ends a wait anyway


def interact(connection: Connection, command: str) -> int:
    """Run `command` (for the login shell there; empty: that shell itself) with this process's terminal.

    The terminal is raw meanwhile, so that Ctrl-C, Ctrl-Z and the like go to the program there.
    Returns the program's exit status; 255 when the connection ended before it sent one, as `ssh` does.
    Raises SSHException when the host gives no terminal.
    """
    with closed_after(_START_S, connection, connection.target.name):
        channel = _start(connection, command)
    with contextlib.closing(channel):
        with _raw(sys.stdin.fileno()), _resized(channel):
            _hand_on(channel, sys.stdin.fileno(), sys.stdout.fileno())
        # The status comes with the end of the output; a host that never sends it must not keep a person waiting.
        status = channel.recv_exit_status() if channel.status_event.wait(_STATUS_S) else -1
        return 255 if status < 0 else int(status)


def pipe(connection: Connection, command: str, *, stdin: bool) -> int:
    """Run `command` there with this process's standard streams, byte for byte and without a terminal.

    `stdin`: this process's standard input goes there; else the program finds an empty one. Returns as `interact`.
    """
    with closed_after(_START_S, connection, connection.target.name):
        channel = connection.transport.open_session(timeout=_START_S)
        channel.exec_command(command)
    with contextlib.closing(channel):
        errors = threading.Thread(target=_copy, args=(channel.recv_stderr, sys.stderr.fileno()), daemon=True)
        errors.start()
        if stdin:
            threading.Thread(target=_feed, args=(channel, sys.stdin.fileno()), daemon=True).start()
        else:
            channel.shutdown_write()
        _copy(channel.recv, sys.stdout.fileno())
        errors.join()
        status = channel.recv_exit_status() if channel.status_event.wait(_STATUS_S) else -1
        return 255 if status < 0 else int(status)


def _copy(receive: Callable[[int], bytes], out: int) -> None:
    while data := receive(_CHUNK):
        _write(out, data)


def _feed(channel: Any, source: int) -> None:
    """Until this side's input ends, or the program there reads no more."""
    with contextlib.suppress(OSError):
        while data := os.read(source, _CHUNK):
            channel.sendall(data)
        channel.shutdown_write()


def _start(connection: Connection, command: str) -> Any:
    """Return a channel with a terminal on which the command runs."""
    channel = connection.transport.open_session(timeout=_START_S)
    columns, lines = os.get_terminal_size(sys.stdin.fileno())
    channel.get_pty(os.environ.get("TERM", "vt100"), columns, lines)
    if command:
        channel.exec_command(command)
    else:
        channel.invoke_shell()
    return channel


def _hand_on(channel: Any, keys: int, screen: int) -> None:
    """Keys there and output here, until the program's output ends."""
    listening = [channel, keys]
    while True:
        ready, _, _ = select.select(listening, [], [], _TICK)
        if channel in ready:
            data = channel.recv(_CHUNK)
            if not data:
                return
            _write(screen, data)
        if keys in ready:
            pressed = os.read(keys, _CHUNK)
            if pressed:
                channel.sendall(pressed)
            else:
                channel.shutdown_write()
                listening.remove(keys)


def _write(screen: int, data: bytes) -> None:
    while data:
        data = data[os.write(screen, data) :]


@contextlib.contextmanager
def _raw(keys: int) -> Iterator[None]:
    before = termios.tcgetattr(keys)
    tty.setraw(keys, termios.TCSADRAIN)  # what was typed ahead stays
    try:
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resized(channel: Any) -> Iterator[None]:
    """The window there has the size of the one here."""

    def resize(signum: int, frame: object) -> None:
        columns, lines = os.get_terminal_size(sys.stdin.fileno())
        channel.resize_pty(columns, lines)

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
