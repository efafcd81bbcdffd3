"""Health checks for a balancer that has none: each server is asked beside the others, and not more than twice a second.

Whoever looks never waits long: a server that takes its time is what it was before, until its answer is there.
"""

from __future__ import annotations

import threading
import time

from deployer.agent.instance.health import Answer, ask
from deployer.agent.model.supervision import Health

_FRESH = 0.5  # seconds that an answer is good for
_FIRST = 2.0  # seconds that the first look waits
_ASKED = Answer(False, None, "asked, no answer yet")


class Checks:
    """The last answers by server, of one operation."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._answers: dict[str, tuple[Answer, float]] = {}
        self._pending: dict[str, float] = {}

    def look(self, checks: dict[str, tuple[str, Health]]) -> dict[str, Answer]:
        """The last answer of every server that was ever wanted, those `wanted` now being asked again.

        `wanted` is name → the unix socket to ask it through, and what to ask.
        """
        for name in sorted(checks):
            self._begin(name, *checks[name])
        with self._changed:
            self._changed.wait_for(lambda: all(name in self._answers for name in checks), self._patience(checks))
            return {**dict.fromkeys(checks, _ASKED), **{name: answer for name, (answer, _) in self._answers.items()}}

    def _begin(self, name: str, path: str, health: Health) -> None:
        with self._changed:
            _, last = self._answers.get(name, (_ASKED, -_FRESH))
            if name in self._pending or time.monotonic() < last + _FRESH:
                return
            self._pending[name] = time.monotonic()
        threading.Thread(target=self._ask, args=(name, path, health), daemon=True).start()

    def _ask(self, name: str, path: str, health: Health) -> None:
        answer = ask("localhost", 80, health, through=path)
        with self._changed:
            self._answers[name] = (answer, time.monotonic())
            del self._pending[name]
            self._changed.notify_all()

    def _patience(self, checks: dict[str, tuple[str, Health]]) -> float:
        """Seconds: what is left of a first look's."""
        began = [self._pending[name] for name in checks if name in self._pending and name not in self._answers]
        return max(0.0, max(began) + _FIRST - time.monotonic()) if began else 0.0
