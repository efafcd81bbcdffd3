"""One command as it was invoked: where its events and its outcome go, what stops it, how long it may wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from deployer.events import Bus
from deployer.rollout.run.record import Record


@dataclass(frozen=True)
class Invocation:
    """What a command needs beside the project that it is about.

    `stop` is set when a person asks the command to wind up. `wait` is for how many seconds it may wait for the lock.
    """

    bus: Bus
    record: Record
    stop: threading.Event = field(default_factory=threading.Event)
    wait: float = 0.0

    def unstoppable(self) -> Invocation:
        """The same for a command so short that the first Ctrl-C lets it end."""
        return replace(self, stop=threading.Event())
