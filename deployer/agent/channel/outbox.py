"""What the agent sends: queued, bounded, and written by a thread of its own, so that nobody ever waits for the channel.

When packets are dropped, sshd stays ESTABLISHED for minutes and a write to stdout hangs: only the writer hangs then.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Any

from deployer.agent.channel import protocol

_EVENTS_BOUND = 2 << 20  # bytes queued from which on events wait, then are dropped
_BOUND = 64 << 20  # bytes queued from which on the controller counts as lost
_PATIENCE = 1.0  # seconds an event waits for a full queue that does not drain


class Outbox:
    """Frames for the controller, in order; heartbeats overtake the rest.

    Args:
        fd: where to write, by this object's thread alone.

    `lost` is set when the channel is closed or does not drain; from then on everything is dropped.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0
        self._stuck = False
        self._writing = False
        self._changed = threading.Condition()
        self.lost = threading.Event()

    def start(self) -> None:
        """Starts the writing thread."""
        threading.Thread(target=self._write_all, name="outbox", daemon=True).start()

    def send(self, head: dict[str, Any], urgent: bool = False) -> None:
        """Queues a frame that must not be dropped. Never blocks. Raises ProtocolError or TypeError for no frame."""
        data = protocol.encode(head)
        with self._changed:
            if self._size + len(data) > _BOUND:
                self.lost.set()
            if self.lost.is_set():
                return
            if urgent:
                self._frames.appendleft(data)
            else:
                self._frames.append(data)
            self._size += len(data)
            self._changed.notify_all()

    def offer(self, head: dict[str, Any]) -> None:
        """Queues an event. A full queue is given a second to drain, then events are dropped until it has drained."""
        with self._changed:
            if self._size > _EVENTS_BOUND and not self._wait_for_room():
                self._dropped += 1
                return
            self._stuck = False
            dropped, self._dropped = self._dropped, 0
        self.send({**head, "dropped": dropped} if dropped else head)

    def _wait_for_room(self) -> bool:
        before = self._size
        while self._size > _EVENTS_BOUND and not self._stuck and not self.lost.is_set():
            if not self._changed.wait(_PATIENCE) and self._size >= before:
                self._stuck = True
            before = self._size
        return self._size <= _EVENTS_BOUND and not self.lost.is_set()

    def flush(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds until everything is written."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.lost.is_set() or not (self._frames or self._writing), timeout
            ) and not (self._frames or self._writing)

    def give_up(self) -> None:
        """From now on everything is dropped at once."""
        with self._changed:
            self.lost.set()
            self._frames.clear()
            self._size = 0
            self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._frames) or self.lost.is_set())
                if self.lost.is_set():
                    return
                data = self._frames.popleft()
                self._writing = True
            try:
                self._write(data)
            except OSError:
                self.give_up()
                return
            with self._changed:
                self._writing = False
                self._size = max(0, self._size - len(data))
                self._changed.notify_all()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
