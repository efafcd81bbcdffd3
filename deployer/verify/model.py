"""What is checked, where, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class CommandResult:
    """What a command on a host came to: exit status (negative: died of that signal), output as text."""

    exit: int
    stdout: str
    stderr: str


# Takes a host's inventory name and a line for `sh -c`; may raise when the host cannot be asked.
Runner = Callable[[str, str], CommandResult]


@dataclass(frozen=True)
class CheckSet:
    """testinfra files (or folders of them) to run against hosts.

    `variables` is JSON data, handed to the checks as the fixture `deploy` (`deploy.release`, `deploy.ports` …). Several
    sets may name the same files, with other hosts and variables: that is how a variable differs from host to host.
    """

    paths: Sequence[Path]
    hosts: Sequence[str]
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """One check on one host.

    `host` is empty for a check that uses no host; `detail` says why it failed or was skipped.
    """

    check: str
    host: str
    outcome: Outcome
    detail: str
    seconds: float


@dataclass(frozen=True)
class Verification:
    """Everything that was checked. `unchecked` are the hosts for which no check passed or failed."""

    results: tuple[CheckResult, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def passed(self) -> int:
        """How many checks passed."""
        return self._count("passed")

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return self._count("failed")

    @property
    def skipped(self) -> int:
        """The number of checks that do not apply."""
        return self._count("skipped")

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The failed checks."""
        return tuple(result for result in self.results if result.outcome == "failed")

    def _count(self, outcome: Outcome) -> int:
        return sum(result.outcome == outcome for result in self.results)
