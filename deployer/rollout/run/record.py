"""What a run has come to so far: the fields of `run.finished`, filled while the run goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer import errors
from deployer.events import RunFinished

if TYPE_CHECKING:
    from deployer.rollout.data import Data

_OUTCOMES = (
    ("its host does not answer", "unreachable"),
    ("failed", "failed"),
    ("restored", "restored"),
    ("stopped", "restored"),
    ("proven", "succeeded"),
)
"""What the states of a host's instances make of the host; the first that occurs counts."""


@dataclass
class Record:
    """Filled by the command that runs; read by whoever reports, also after an error.

    `outcome` is settled by the command when it succeeds (`succeeded`, `unchanged`); errors settle it otherwise.
    `serving` is what was seen at the end of a run that failed: instance → the release that served `before` the run and
    serves `now`, None for none, and why that is `unknown` where nobody can tell. It is None where nothing that serves
    was touched, and empty where nothing was seen.
    `data` is the answer of a command that looks. `extra` are further fields of the closing event.
    `announced`: the header was shown. `in_ledgers` are the hosts whose
    ledger has the end of the run.
    """

    command: str
    outcome: str = "succeeded"
    release: str | None = None
    previous: str | None = None
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    probe: dict[str, Any] | None = None
    serving: dict[str, dict[str, str | None]] | None = None
    exit_status: int = 0
    announced: bool = False
    data: Data | dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    in_ledgers: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)

    def instance(self, host: str, index: int, port: int, release: str | None, state: str, **takes: float) -> None:
        """Notes what one instance came to: `state` is a word such as proven, restored, unchanged, failed.

        `takes` is what `status` measures of it: `memory` (bytes) after `age_s` seconds.
        """
        entry = self.hosts.setdefault(host, {"outcome": "unchanged", "instances": {}})
        entry["instances"][str(index)] = {"port": port, "release": release, "state": state, **takes}
        states = [instance["state"] for instance in entry["instances"].values()]
        entry["outcome"] = next((word for state, word in _OUTCOMES if state in states), "unchanged")

    def process(self, host: str, label: str, release: str | None, state: str) -> None:
        """Notes what one process beside the instances came to."""
        entry = self.hosts.setdefault(host, {"outcome": "succeeded", "instances": {}})
        entry.setdefault("processes", {})[label] = {"release": release, "state": state}

    def schedule(self, host: str, name: str, release: str | None, state: str, **times: Any) -> None:
        """Notes what one schedule came to; `times` are its `next` and `last` run, where they were asked."""
        entry = self.hosts.setdefault(host, {"outcome": "succeeded", "instances": {}})
        entry.setdefault("schedules", {})[name] = {"release": release, "state": state, **times}

    def host(self, host: str, outcome: str) -> None:
        """Notes what a whole host came to."""
        self.hosts.setdefault(host, {"outcome": outcome, "instances": {}})["outcome"] = outcome

    def finish(self, error: errors.DeployError | None = None) -> RunFinished:
        """The closing event; `error` decides outcome and exit status when there is one."""
        return RunFinished(
            outcome=self.outcome if error is None else outcome_of(error),
            exit_status=self.exit_status if error is None else error.exit_status,
            release=self.release,
            previous=self.previous,
            duration_s=round(time.monotonic() - self.started, 3),
            hosts=self.hosts,
            probe=self.probe,
            serving=self.serving,
            error=error.as_dict() if error else None,
            data=self.data if self.data is None or isinstance(self.data, dict) else self.data.model_dump(mode="json"),
            extra=self.extra,
        )


def outcome_of(error: errors.DeployError) -> str:
    """The contract's word for how a run ended that raised `error`."""
    if isinstance(error, errors.InterruptedRun):
        return "interrupted"
    if isinstance(error, errors.RolloutError):
        return "rolled_back"
    if isinstance(error, errors.UsageError | errors.UnreachableError | errors.LockedError | errors.FrozenError):
        return "refused"
    return "failed"
