"""Exact versions that an earlier release was built with, by the question that they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KeptAnswer:
    """Pinned requirements as a `release` has them. `at`: when they were resolved, in seconds since the epoch."""

    text: str
    at: int
    release: str


@dataclass(frozen=True)
class KeptVersions:
    """The answers of the current release, by the digest of the question. `anew`: nothing that is known counts."""

    answers: Mapping[str, KeptAnswer] = field(default_factory=dict)
    anew: bool = False

    def find(self, digest: str) -> KeptAnswer | None:
        """Return the answer to a question; None where it has to be resolved."""
        return None if self.anew else self.answers.get(digest)
