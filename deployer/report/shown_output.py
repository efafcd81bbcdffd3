"""Which lines of commands a person has read already, so that an error does not print them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from deployer import events
from deployer.report.lines import line_of

_KEPT_LINES = 1000


class ShownOutput:
    """A listener that remembers the last lines that commands printed and that were shown."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Output) and line_of(event) is not None:
            self._lines.append(event.line.strip())

    def has_all(self, lines: Sequence[str]) -> bool:
        """Return whether every one of `lines` was shown."""
        shown = set(self._lines)
        return all(line.strip() in shown for line in lines)
