"""Every run that began is in the history: in the ledgers of the hosts that it locks, and until then on this machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypedDict

from deployer.agent.model.messages import site as wire
from deployer.errors import DeployError
from deployer.events import Bus, Event, RunStarted, StepStarted, Warned
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.local_runs import LocalRuns
from deployer.rollout.run.project import Project
from deployer.rollout.run.record import Record, outcome_of
from deployer.rollout.run.run import Run

P = ParamSpec("P")


class _End(TypedDict):
    """How a run ended."""

    who: str
    command: str
    release: str | None
    outcome: str
    why: str
    duration_s: float


Command = Callable[Concatenate[Project, Invocation, P], None]


def recorded(command: Command[P]) -> Command[P]:
    """Makes a command one whose runs are in the history, however they end."""

    @functools.wraps(command)
    def run(project: Project, invocation: Invocation, /, *args: P.args, **options: P.kwargs) -> None:
        with in_history(project, invocation):
            command(project, invocation, *args, **options)

    return run


@contextmanager
def in_history(project: Project, invocation: Invocation) -> Iterator[None]:
    """Says that the run begins, and keeps it in this machine's record unless a host's ledger has its end.

    A command that another one carries out is part of that one's run.
    """
    bus, record = invocation.bus, invocation.record
    if record.announced:
        yield
        return
    announce(project, invocation)
    runs = LocalRuns(project.topology.settings.app, project.env)
    for end in runs.settle():
        what = f"{end.get('command') or 'run'} {end['run']}"
        bus.emit(Warned(f"the {what} was interrupted: {end['why']}", hint=f"deploy history {project.env} {end['run']}"))
    runs.begin(bus.run, who=project.who, command=record.command)
    _warn_of(runs.problem, project, bus)

    def note(event: Event) -> None:
        if isinstance(event, StepStarted):
            runs.note_step(bus.run, event.step, event.host)

    bus.subscribe(note)
    why: BaseException | None = None
    try:
        yield
    except BaseException as error:
        why = error
        raise
    finally:
        known = runs.problem
        if record.in_ledgers:
            runs.forget(bus.run)
        else:
            runs.end(bus.run, **_end(record, project.who, why))
        _warn_of("" if known else runs.problem, project, bus)


def _warn_of(problem: str, project: Project, bus: Bus) -> None:
    """Says that this machine cannot note the run, if it cannot."""
    if problem:
        hint = f"deploy history {project.env} has it once it is in the ledgers of the hosts"
        bus.emit(Warned(f"this run goes on, and cannot be noted on this machine: {problem}", hint=hint))


def announce(project: Project, invocation: Invocation) -> None:
    """Emits RunStarted, once in a run."""
    record = invocation.record
    if not record.announced:
        record.announced = True
        topology = project.topology
        hosts = tuple(host.name for host in topology.hosts)
        invocation.bus.emit(RunStarted(record.command, topology.settings.app, project.env, project.who, hosts))


@contextmanager
def ended_in_ledgers(run: Run) -> Iterator[None]:
    """Notes the end of the run on every host that noted its beginning (`run.noted`), if that host is still there.

    Nothing is noted when a person stops the run at once: its agents may not answer in time.
    """
    try:
        yield
    except Exception as error:
        note_end(run, error)
        raise
    note_end(run, None)


def note_release(run: Run) -> None:
    """Notes on the hosts which release the run is about, before anything is done, so that a killed run has it too."""

    def about(host: str) -> wire.NoteBegin:
        record = run.record
        return wire.NoteBegin(
            site=run.site(host), run=run.id, who=run.who, command=record.command, release=record.release
        )

    run.run_on_hosts(sorted(run.noted), wire.NOTE_BEGIN, about, step="history")


def note_end(run: Run, why: BaseException | None) -> None:
    hosts = [host for host in run.hosts if host in run.noted]
    end = _end(run.record, run.who, why)

    def request(host: str) -> wire.NoteEnd:
        return wire.NoteEnd(
            site=run.site(host),
            run=run.id,
            who=end["who"],
            command=end["command"],
            release=end["release"],
            outcome=end["outcome"],
            why=end["why"],
            duration_s=end["duration_s"],
        )

    done, _ = run.try_on_hosts(hosts, wire.NOTE_END, request, step="history")
    run.record.in_ledgers |= set(done)


def _end(record: Record, who: str, why: BaseException | None) -> _End:
    """What the last line of a run says."""
    if why is None:
        outcome, text = record.outcome, ""
    elif isinstance(why, DeployError):
        outcome, text = outcome_of(why), str(why)
    elif isinstance(why, KeyboardInterrupt):
        outcome, text = "interrupted", "stopped at once by a person; the hosts wind up by themselves"
    else:
        outcome, text = "failed", f"a fault of deploy itself: {type(why).__name__}: {why}"
    took = time.monotonic() - record.started
    return {
        "who": who,
        "command": record.command,
        "release": record.release,
        "outcome": outcome,
        "why": text,
        "duration_s": round(took, 1),
    }
