"""The binary body of one request on its way in: taken from the channel at once, handed to the operation as it asks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Callable

from deployer.agent.channel import protocol
from deployer.agent.operation import OpError


class Body:
    """The chunks of a body, in order.

    Args:
        credit: told how many bytes were consumed, so that the controller may send as many more.
    """

    def __init__(self, credit: Callable[[int], None]) -> None:
        self._credit = credit
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._complete = False
        self._why = ""

    def feed(self, chunk: bytes, last: bool) -> None:
        """Takes a chunk from the channel; `last` when no other follows."""
        with self._changed:
            if chunk:
                self._chunks.append(chunk)
            self._complete = self._complete or last
            self._changed.notify_all()

    def fail(self, why: str) -> None:
        """No more will come; whoever reads gets OpError `body_lost`."""
        with self._changed:
            self._why = why
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        """The chunks; blocks until the next is there. Raises OpError `body_lost` when it will never come."""
        owed = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._chunks or self._complete or self._why))
                if self._why and not self._complete:
                    raise OpError("body_lost", "the data did not arrive completely: " + self._why)
                if not self._chunks:
                    return
                chunk = self._chunks.popleft()
            yield chunk
            owed += len(chunk)
            if owed >= protocol.WINDOW // 4:
                self._credit(owed)
                owed = 0
