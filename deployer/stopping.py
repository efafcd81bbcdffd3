"""The request to wind up, and who made it."""

from __future__ import annotations

import threading

PERSON = "a person"
CLOSED_OUTPUT = "a closed output"


class StopRequest(threading.Event):
    """Set when a run is to wind up. `by` says who asked for it, as a noun: a person, or the reader that went away."""

    def __init__(self) -> None:
        super().__init__()
        self.by = PERSON

    def request(self, by: str) -> None:
        """Sets the event on behalf of `by`, unless somebody asked before."""
        if not self.is_set():
            self.by = by
        self.set()


def requester(stop: threading.Event) -> str:
    """Who asked to wind up, as a noun."""
    return stop.by if isinstance(stop, StopRequest) else PERSON
