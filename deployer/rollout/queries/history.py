"""`deploy history`: who did what, when, and how it ended, from the ledgers of the hosts and from this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Literal

from deployer.agent.model.messages.site import LEDGER as SITE_LEDGER
from deployer.agent.model.messages.site import ReadLedger
from deployer.errors import UsageError
from deployer.events import Text
from deployer.rollout.data import Data
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.local_runs import LocalRuns
from deployer.rollout.run.project import Project
from deployer.rollout.timestamps import format_duration, format_utc

Entry = Mapping[str, Any]
BY_HAND = ("frozen", "thawed", "closed", "opened")


class RunEntry(Data):
    """One run of a command that changes something."""

    run: str
    """The id of the run."""
    who: str | None
    """Who ran it, as USER@MACHINE; null in ledgers of an earlier version."""
    command: str | None
    """The command: push, rollback, reload and the like."""
    release: str | None
    """The release that it was about; null when it ended before it had one."""
    began: float
    """When it began, in seconds since the epoch."""
    ended: float | None
    """When it ended, in seconds since the epoch; null when no end was noted."""
    duration_s: float | None
    """How long it took, in seconds."""
    outcome: str | None
    """How it ended, as in the closing event; null when no end was noted."""
    why: str
    """Why it did not succeed; empty when it did."""
    under_way: bool
    """It still runs."""
    local: bool
    """Only this machine knows of it: it never came to a lock on a host."""

    @property
    def text(self) -> str:
        """The run as one line."""
        what = " ".join(filter(None, (self.command or "a run", self.release)))
        by = f" by {self.who}" if self.who else ""
        known = ", known on this machine only" if self.local else ""
        took = f" after {format_duration(self.duration_s)}" if self.duration_s is not None else ""
        how = f"{(self.outcome or '').replace('_', ' ')}{took}" + (f": {self.why}" if self.why else "")
        if self.outcome is None:
            how = "is under way" if self.under_way else "has no recorded end: it was killed, or its hosts were lost"
        return f"{format_utc(self.began)} {what}{by}: {how}  ({self.run}{known})"


class HandEntry(Data):
    """Something that a person set by hand for all runs to come."""

    at: float
    """When, in seconds since the epoch."""
    event: Literal["frozen", "thawed", "closed", "opened"]
    """Pushes were stopped or allowed; the app was closed to its users for maintenance, or opened."""
    who: str | None
    """Who did it, as USER@MACHINE."""
    why: str
    """The reason that was given."""

    @property
    def text(self) -> str:
        """The entry as one line."""
        return f"{format_utc(self.at)} {self.event} by {self.who}" + (f": {self.why}" if self.why else "")


class LedgerLine(Data):
    """One line of a ledger."""

    host: str
    """The host whose ledger has it; empty for this machine."""
    at: float
    """When, in seconds since the epoch."""
    event: str
    """What was noted: begun, intent, outcome, current, ended and the like."""
    about: dict[str, Any]
    """The other fields of the line."""

    @property
    def text(self) -> str:
        """The line as text."""
        fields = " ".join(f"{key}={value}" for key, value in self.about.items() if value is not None)
        return f"{format_utc(self.at)} {self.event} {fields}"


class History(Data):
    """What `deploy history` answers."""

    runs: list[RunEntry]
    """All runs, or with RUN that one; oldest first."""
    by_hand: list[HandEntry]
    """Freezes and maintenance, oldest first."""
    lines: list[LedgerLine]
    """With RUN: every line of that run. Else empty."""


def history(project: Project, invocation: Invocation, *, run_id: str | None) -> None:
    """Shows who did what and how it ended, a line per run, oldest first; with `run_id` every line of that run.

    Hosts that do not answer are left out and are the error at the end. UsageError for a run that nobody knows.
    """
    local = LocalRuns(project.topology.settings.app, project.env).read()
    with open_run(project, invocation, partial=True) as run:
        answers = run.run_on_hosts(run.hosts, SITE_LEDGER, lambda host: ReadLedger(site=run.site(host)), step="history")
        lines = [(entry, host) for host, answer in answers.items() for entry in answer["entries"]]
        under_way = {str(lock.get("run")) for answer in answers.values() if (lock := answer.get("lock"))}
        answer = history_of(lines, local, under_way)
        if run_id is not None:
            answer = of_one_run(answer, run_id, [*lines, *((entry, "") for entry in local)])
            if not answer.lines:
                raise UsageError(
                    f"run {run_id} was not found in the ledgers", hint=f"deploy history {project.env} lists them"
                )
        invocation.record.data = answer
        for line in answer.lines:
            invocation.bus.emit(Text(line.text, host=line.host))
        for text in text_of(answer) if run_id is None else ():
            invocation.bus.emit(Text(text))


def history_of(
    lines: Sequence[tuple[Entry, str]], local: Sequence[Entry] = (), under_way: Set[str] = frozenset()
) -> History:
    """The history that ledger lines (with their hosts) and this machine's own lines tell.

    `under_way` are the runs that hold a lock now.
    """
    runs: dict[str, list[Entry]] = {}
    by_hand: list[HandEntry] = []
    for entry in sorted((entry for entry, _ in lines), key=_ts):
        if entry.get("run"):
            runs.setdefault(str(entry["run"]), []).append(entry)
        elif entry.get("event") in BY_HAND:
            hand = HandEntry(at=_ts(entry), event=entry["event"], who=entry.get("who"), why=str(entry.get("why") or ""))
            if not any(_same(hand, other) for other in by_hand):
                by_hand.append(hand)
    own: dict[str, list[Entry]] = {}
    for entry in local:
        own.setdefault(str(entry["run"]), []).append(entry)
    # The end of a run that no host noted, since it was stopped at once, may be known here.
    known = [_run_entry(run, [*noted, *own.get(run, ())], run in under_way, False) for run, noted in runs.items()]
    known += [_run_entry(run, noted, False, True) for run, noted in own.items() if run not in runs]
    return History(runs=sorted(known, key=lambda entry: entry.began), by_hand=by_hand, lines=[])


def of_one_run(answer: History, run: str, lines: Sequence[tuple[Entry, str]]) -> History:
    """The part of a history that is about one run, with its lines in the order of time."""
    own = sorted((pair for pair in lines if pair[0].get("run") == run), key=lambda pair: _ts(pair[0]))
    return History(
        runs=[entry for entry in answer.runs if entry.run == run],
        by_hand=[],
        lines=[_ledger_line(entry, host) for entry, host in own],
    )


def text_of(answer: History) -> Iterator[str]:
    """A line per run and per act by hand, oldest first."""
    timed = [(entry.began, entry.text) for entry in answer.runs] + [(entry.at, entry.text) for entry in answer.by_hand]
    for _, text in sorted(timed, key=lambda pair: pair[0]):
        yield text


def _run_entry(run: str, entries: Sequence[Entry], under_way: bool, local: bool) -> RunEntry:
    end = next((entry for entry in entries if entry.get("event") == "ended"), None)
    best = sorted(entries, key=lambda entry: entry.get("event") not in ("ended", "begun"))

    def field(name: str) -> str | None:
        return next((str(entry[name]) for entry in best if entry.get(name)), None)

    began, took = min(map(_ts, entries)), None
    if end is not None:
        took = float(end.get("duration_s") or round(_ts(end) - began, 1))
        began = min(began, _ts(end) - took)
    return RunEntry(
        run=run,
        who=field("who"),
        command=field("command"),
        release=field("release"),
        began=round(began, 3),
        ended=_ts(end) if end else None,
        duration_s=took,
        outcome=str(end.get("outcome")) if end else None,
        why=str((end or {}).get("why") or ""),
        under_way=end is None and (under_way or any(entry.get("alive") for entry in entries)),
        local=local,
    )


def _ledger_line(entry: Entry, host: str) -> LedgerLine:
    about = {key: value for key, value in entry.items() if key not in ("ts", "event", "alive")}
    return LedgerLine(host=host, at=_ts(entry), event=str(entry.get("event")), about=about)


def _same(one: HandEntry, other: HandEntry) -> bool:
    """The same act, which each host notes for itself."""
    return (one.event, one.who, one.why) == (other.event, other.who, other.why) and abs(one.at - other.at) < 60.0


def _ts(entry: Entry) -> float:
    return float(entry.get("ts") or 0)
