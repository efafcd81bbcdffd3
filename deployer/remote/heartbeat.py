"""One thread that keeps the leases of all agents fresh, and notices those that no longer answer."""

from __future__ import annotations

import contextlib
import threading
from typing import Protocol

from deployer.agent.channel import protocol

_SUSPECT = 3.0  # seconds without an answer after which a session is beaten by a thread of its own


class Beatable(Protocol):
    """A session, as the heart sees it."""

    def beat(self) -> None:
        """Send a heartbeat, or return at once when the link is busy with something else. Never raises."""

    def fresh_for(self) -> float:
        """Return seconds since the agent's lease was certainly renewed."""

    def check(self) -> None:
        """Give the session up when the agent has not answered for too long. Never raises."""


class Heartbeat:
    """Beats for every session that was added, until it is removed. Thread-safe.

    A write can hang on a link that lost its packets, but only once its buffers are full. So the shared thread writes
    only to sessions that answered within 3 seconds; the others get a thread each.
    """

    def __init__(self, every: float = protocol.BEAT) -> None:
        self._every = every
        self._sessions: set[Beatable] = set()
        self._apart: dict[Beatable, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, session: Beatable) -> None:
        """Beat for `session` from now on."""
        with self._lock:
            self._sessions.add(session)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
                self._thread.start()

    def remove(self, session: Beatable) -> None:
        """No longer beats for `session`."""
        with self._lock:
            self._sessions.discard(session)

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            with self._lock:
                sessions = list(self._sessions)
            for session in sessions:
                with contextlib.suppress(Exception):  # a fault of one session must not cost the others their lease
                    self._serve(session)

    def _serve(self, session: Beatable) -> None:
        session.check()
        if session.fresh_for() < max(_SUSPECT, 3 * self._every):
            session.beat()
        else:
            self._beat_apart(session)

    def _beat_apart(self, session: Beatable) -> None:
        running = self._apart.get(session)
        if running is not None and running.is_alive():
            return
        thread = threading.Thread(target=session.beat, name="heart-apart", daemon=True)
        self._apart = {one: thread for one, thread in self._apart.items() if thread.is_alive()}
        self._apart[session] = thread
        thread.start()
