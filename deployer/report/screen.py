"""Shows the events of a run without ever holding the run up: a thread of its own feeds the listener.

A terminal that is stopped (Ctrl-S), a pipe without a reader, a library that raises or locks up: the run goes on.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from deployer import events
from deployer.report.listeners import Plain

PATIENCE_S = 5.0
"""How long a listener may take over one event while its output can be written to, before it counts as locked up."""

WAITING_EVENTS = 10_000
"""How many events may wait for the output. Beyond that, lines that commands printed are left out, and counted."""

WAITING_WITH_BACKPRESSURE = 500
"""The same where the emitter waits. Few, since a person who stops the command waits until these are shown."""

_CHECK_INTERVAL_S = 0.5


class Screen:
    """Passes events to `inner` in a thread, in order; a context manager, which ends with `close`.

    A listener that raises, or that locks up while its output is free, is replaced by the plain one, which says so.
    Where the output itself has ended (OSError), `gone` is called once, and what comes later is dropped.

    Args:
        inner: shows events. Where it has a method `settle`, that is called when others want to write to the screen.
        gone: called with the error when the output takes nothing any more.
        out: the stream that `inner` writes to; standard output by default.
        backpressure: an emitter waits while too many events wait for the output, instead of losing lines. For commands
            whose lines are what they are for, and which hold nothing on the hosts meanwhile.
    """

    def __init__(
        self,
        inner: events.Listener,
        gone: Callable[[OSError], None],
        *,
        out: TextIO | None = None,
        backpressure: bool = False,
        patience: float = PATIENCE_S,
        waiting: int | None = None,
    ) -> None:
        self._out = out or sys.stdout
        self._gone = gone
        self._backpressure = backpressure
        self._patience = patience
        self._most = waiting or (WAITING_WITH_BACKPRESSURE if backpressure else WAITING_EVENTS)
        self._changed = threading.Condition()
        self._queue: deque[events.Event | threading.Event] = deque()
        self._left_out = 0
        self._inner = inner
        self._busy_since: float | None = None
        self._worker = 0  # counts the threads that were started: only the newest one takes events
        self._over = False
        self._start_worker()
        threading.Thread(target=self._watch, name="screen watch", daemon=True).start()

    def __call__(self, event: events.Event) -> None:
        """Takes one event; returns at once, but for `backpressure`."""
        with self._changed:
            if self._backpressure:
                self._changed.wait_for(lambda: len(self._queue) < self._most or self._over)
            if self._over:
                return
            if len(self._queue) >= self._most and isinstance(event, events.Output):
                self._left_out += 1
                return
            self._note_gap()
            self._queue.append(event)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all events are shown and the screen is free for others, as long as the output takes.

        Returns early when the output has ended or locked up, or after `abandon`.
        """
        shown = threading.Event()
        with self._changed:
            if self._over:
                return
            self._note_gap()
            self._queue.append(shown)
            self._changed.notify_all()
            self._changed.wait_for(lambda: shown.is_set() or self._over)

    def abandon(self) -> None:
        """Drop what is not shown yet, and release all waiting threads, for an immediate stop."""
        self._end()

    def close(self) -> None:
        """Show what is left, and end."""
        self.flush()
        self._end()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> bool:
        """No more events are taken; whether that is new."""
        with self._changed:
            new, self._over = not self._over, True
            self._queue.clear()
            self._changed.notify_all()
        return new

    def _note_gap(self) -> None:
        if self._left_out and len(self._queue) < self._most:
            text = f"{self._left_out} lines are left out: the output was too slow"
            self._left_out = 0
            self._queue.append(events.Warned(text))

    # -- the thread that shows ----------------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        self._worker += 1
        threading.Thread(target=self._work, args=(self._worker,), name="screen", daemon=True).start()

    def _work(self, number: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._over or self._worker != number)
                if self._over or self._worker != number:
                    return
                item, inner = self._queue[0], self._inner
                self._busy_since = time.monotonic()
            try:
                self._show(inner, item)
            except OSError as error:
                if self._worker == number and self._end():
                    self._gone(error)
                return
            except Exception as error:
                self._replace(number, inner, f"{type(error).__name__}: {error}")
                continue
            with self._changed:
                if self._worker != number or self._over:
                    return
                self._busy_since = None
                self._queue.popleft()
                if isinstance(item, threading.Event):
                    item.set()
                self._changed.notify_all()

    @staticmethod
    def _show(inner: events.Listener, item: events.Event | threading.Event) -> None:
        if isinstance(item, events.Event):
            inner(item)
        else:
            _settle(inner)

    # -- a listener that does not work --------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._over:
            with self._changed:
                self._changed.wait_for(lambda: self._over, timeout=_CHECK_INTERVAL_S)
                began, number, inner = self._busy_since, self._worker, self._inner
            if began is None or time.monotonic() - began < self._patience:
                continue
            if _takes_output(self._out):
                self._replace(number, inner, f"it took more than {self._patience:g} s over one event", stuck=True)
            else:  # the output is stopped, and not the listener's fault
                with self._changed:
                    if self._busy_since == began:
                        self._busy_since = time.monotonic()

    def _replace(self, number: int, inner: events.Listener, why: str, *, stuck: bool = False) -> None:
        """The plain listener takes over, and shows again what `inner` failed at. If that one fails too, all is over."""
        with self._changed:
            if self._worker != number or self._over:
                return
            self._busy_since = None
            last = isinstance(inner, Plain)
            if not last:
                show_cursor(self._out)
                self._inner = Plain(self._out)
                self._queue.appendleft(events.Warned(f"plain output replaces the display, which failed: {why}"))
                if stuck:
                    self._start_worker()
                self._changed.notify_all()
        if last:
            self._end()
        else:  # in a thread, for this may be what hangs
            threading.Thread(target=_settle, args=(inner,), name="settle", daemon=True).start()


def show_cursor(out: TextIO) -> None:
    """Bring back the cursor of a terminal, and an empty line: a live view that was cut off leaves neither."""
    with contextlib.suppress(OSError, ValueError):
        if out.isatty():
            os.write(out.fileno(), b"\r\x1b[K\x1b[?25h")


def _settle(inner: events.Listener) -> None:
    if settle := getattr(inner, "settle", None):
        settle()


def _takes_output(out: TextIO) -> bool:
    """Return whether the stream can be written to now.

    True for what is not a file: nothing but the listener can be slow.
    """
    with contextlib.suppress(OSError, ValueError):
        return bool(select.select([], [out.fileno()], [], 0)[1])
    return True
