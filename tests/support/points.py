"""The moments of a run at which something may die, by names that anybody can type. They come from what a run says.

drain@web1:0          that step begins         drain@web1:0#2   … for the second time
wave1.done            that wave has ended      checks.done      the last step has ended
web1:link             the host's own ledger says so: the agent's steps (stop, link, start …)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """Who dies when: `work` is the command (and its strategy), `moment` a name as above.

    `victim` is `controller` (SIGKILL), `silence` (the same, but its packets are dropped and nothing is closed), or the
    host whose agent gets SIGKILL.
    """

    work: str
    moment: str
    victim: str

    @classmethod
    def named(cls, name: str) -> Point:
        """The point that `str` names."""
        work, moment, victim = name.split("/")
        return cls(work, moment, victim)

    def __str__(self) -> str:
        return f"{self.work}/{self.moment}/{self.victim}"

    @property
    def host(self) -> str:
        """The host in whose ledger the moment is; empty for what the controller says."""
        return self.moment.partition(":")[0] if ":" in self.moment and "@" not in self.moment else ""


def said(events: Iterable[Event]) -> list[str]:
    """The names of all moments that a controller has told of, in order."""
    return _counted(filter(None, map(_said, events)))


def noted(host: str, entries: Iterable[Event], run: str) -> list[str]:
    """The names of all moments of a run in a host's ledger, in order."""
    mine = [entry for entry in entries if entry["run"] == run and entry["event"] in ("intent", "current")]
    return _counted(f"{host}:{entry.get('state') or entry.get('op') or entry['event']}" for entry in mine)


def boundaries(events: Sequence[Event]) -> list[str]:
    """The step boundaries of a run that went well: each start of a step, each end of a wave, and the last end."""
    told = [event for event in events if _said(event)]
    last = [event for event in told if event["event"] == "step.finished"][-1]
    pairs = zip(told, said(told), strict=True)
    return [name for event, name in pairs if event["event"] != "step.finished" or event is last]


def chosen(points: Sequence[Point], wanted: str, seed: int) -> list[Point]:
    """Those that `wanted` means, shuffled by `seed`: a number of them, patterns (commas between), or empty for all."""
    mixed = random.Random(seed).sample(points, len(points))
    if wanted.isdigit():
        return mixed[: int(wanted)]
    patterns = wanted.split(",") if wanted else ["*"]
    return [point for point in mixed if any(fnmatchcase(str(point), pattern) for pattern in patterns)]


def _said(event: Event) -> str:
    if event["event"] == "wave.finished":
        return ("back" if event["restoring"] else "wave") + f"{event['number']}.done"
    if event["event"] not in ("step.started", "step.finished"):
        return ""
    subject = str(event["instance"] or event["host"]).replace(", ", "+")
    name = f"{event['step']}@{subject}" if subject else str(event["step"])
    return name + (".done" if event["event"] == "step.finished" else "")


def _counted(names: Iterable[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found
