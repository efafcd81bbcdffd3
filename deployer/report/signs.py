"""Signs of life of long steps, for output that is not a terminal: a silent log looks like a hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from deployer import events
from deployer.events import StepRunning

FIRST_S = 3.0
"""Seconds after which a step shows a sign of life."""
EVERY_S = 10.0
"""Seconds from one sign of life to the next, counted from the beginning of the step."""


class SignsOfLife:
    """Follows the steps of a run, and has those that take long say so, by a thread of its own.

    Args:
        show: takes each sign; it has to return at once.
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, show: events.Listener, clock: Callable[[], float] = time.monotonic) -> None:
        self._show = show
        self._clock = clock
        self._running: dict[tuple[str, str], tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: events.Event) -> None:
        """Notes the beginning and the end of steps."""
        if isinstance(event, events.StepStarted):
            began = self._clock()
            with self._lock:
                self._running[event.instance or event.host, event.step] = began, began + FIRST_S
                if self._thread is None:
                    self._thread = threading.Thread(target=self._watch, name="signs of life", daemon=True)
                    self._thread.start()
        elif isinstance(event, events.StepFinished):
            with self._lock:
                self._running.pop((event.instance or event.host, event.step), None)
        elif isinstance(event, events.RunFinished):
            self._over.set()

    def look(self) -> None:
        """Show one sign per step that is due."""
        now, due = self._clock(), dict[str, list[tuple[str, float]]]()
        with self._lock:
            for (place, step), (began, at) in self._running.items():
                if now >= at:
                    due.setdefault(step, []).append((place, began))
                    ended = (now - began) // EVERY_S
                    self._running[place, step] = began, began + (ended + 1) * EVERY_S
        for step, places in due.items():
            longest = max(now - began for _, began in places)
            self._show(StepRunning(step, tuple(place for place, _ in places if place), round(longest, 1)))

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            self.look()
