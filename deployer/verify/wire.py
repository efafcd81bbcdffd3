"""Messages between `deploy` and the process that runs its checks: one JSON object a line, in both directions.

To the process: a round to run (`Round`), then one answer for every command that a check runs. From it: commands for
hosts, results as they come, how pytest ended, and at the end of a round the status of the process that ran it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any


@dataclass(frozen=True)
class Round:
    """Check files below one folder; for each file the targets it runs against: host name and variables."""

    folder: str
    targets: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]

    def to_wire(self) -> dict[str, Any]:
        """Return the round as JSON data."""
        return {"folder": self.folder, "targets": {file: list(pairs) for file, pairs in self.targets.items()}}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Round:
        """Return the round that `to_wire` made `data` of."""
        targets = {file: [(name, variables) for name, variables in pairs] for file, pairs in data["targets"].items()}
        return cls(data["folder"], targets)


def send(out: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write one message. Raises OSError when the other side has gone."""
    out.write(json.dumps(message).encode("ascii") + b"\n")
    out.flush()


def receive(source: IO[bytes]) -> dict[str, Any] | None:
    """Return the next message; None when the other side has ended."""
    line = source.readline()
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    return message
