"""Every fact of a run is a typed event; whoever shows or records a run is only a listener.

An event becomes one JSON line `{"v": 1, "ts": …, "run": …, "event": NAME, …}` by `as_json`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from deployer.errors import name_environment

UNKNOWN = "unknown"
"""Stands for the release that an instance serves where that could not be seen. No release has this id."""


@dataclass(frozen=True)
class Event:
    """Base of all events. `ts` is seconds since the epoch, UTC; `run` the run's id, empty outside a run."""

    name: ClassVar[str] = "event"
    for_people: ClassVar[bool] = False
    run: str = field(default="", kw_only=True)
    ts: float = field(default_factory=time.time, kw_only=True)

    def as_json(self) -> dict[str, Any]:
        """Return the event as the plain data of one JSON line."""
        data = dataclasses.asdict(self)
        head = {"v": 1, "ts": round(data.pop("ts"), 3), "run": data.pop("run"), "event": self.name}
        return head | data


@dataclass(frozen=True)
class RunStarted(Event):
    """A command that may change hosts began. `who` is user@machine of the person or pipeline.

    `hosts` are the names of all hosts that take part.
    """

    name = "run.started"
    command: str
    app: str
    env: str
    who: str
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanMade(Event):
    """The plan is settled: `plan` is its JSON form, `text` what a person reads."""

    name = "plan.made"
    plan: dict[str, Any]
    text: str

    def as_json(self) -> dict[str, Any]:
        """Without the text, which says the same for people."""
        return {key: value for key, value in super().as_json().items() if key != "text"}


@dataclass(frozen=True)
class StepStarted(Event):
    """A step began. Empty `host`: here, on the controller. `instance` is `host:index` or empty."""

    name = "step.started"
    step: str
    host: str = ""
    instance: str = ""
    detail: str = ""


@dataclass(frozen=True)
class StepRunning(Event):
    """A step has run for `elapsed_s` seconds on the hosts or instances of `places` and goes on. Not part of JSON."""

    name = "step.running"
    for_people: ClassVar[bool] = True
    step: str
    places: tuple[str, ...]
    elapsed_s: float


@dataclass(frozen=True)
class StepFinished(Event):
    """A step ended after `duration_s` seconds; `ok` false means that an error event follows."""

    name = "step.finished"
    step: str
    host: str = ""
    instance: str = ""
    ok: bool = True
    detail: str = ""
    duration_s: float = 0.0


@dataclass(frozen=True)
class WaveStarted(Event):
    """Wave `number` of `of` (from 1) begins; `instances` are `host:index`. `restoring`: on the way back."""

    name = "wave.started"
    number: int
    of: int
    instances: tuple[str, ...]
    release: str
    restoring: bool = False


@dataclass(frozen=True)
class WaveFinished(Event):
    """Wave `number` ended: all its instances are proven and admitted, or `ok` is false."""

    name = "wave.finished"
    number: int
    of: int
    ok: bool
    duration_s: float
    restoring: bool = False


@dataclass(frozen=True)
class WaveJudged(Event):
    """The balancers' figures of a wave beside those of the old instances.

    `new` is by instance; `compared` says of when the old ones' are: `meanwhile`, or `before`. All are `{requests,
    failed, lost, p50_ms, p90_ms}`. `enough`: there were requests enough to tell failures. `why` is empty when `ok`.
    """

    name = "wave.judged"
    instances: tuple[str, ...]
    ok: bool
    enough: bool
    compared: str
    why: str
    new: dict[str, Any]
    old: dict[str, Any]
    margins: dict[str, Any]


@dataclass(frozen=True)
class Output(Event):
    """A line that a command printed (hook, installer, exec, logs)."""

    name = "output"
    line: str
    host: str = ""
    step: str = ""


@dataclass(frozen=True)
class Text(Event):
    """A line of a command's answer, for people. JSON has the answer as `data` of the closing event instead."""

    name = "text"
    for_people: ClassVar[bool] = True
    line: str
    host: str = ""


@dataclass(frozen=True)
class Warned(Event):
    """Something a person should know that stops nothing."""

    name = "warning"
    message: str
    host: str = ""
    hint: str = ""


@dataclass(frozen=True)
class CheckFinished(Event):
    """One testinfra check ended: `outcome` is passed, failed or skipped."""

    name = "check.finished"
    check: str
    host: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class RunFinished(Event):
    """Always the last event; its fields are the contract's. `silent`: it has no line of its own for a person.

    `serving` is what was seen after a run that failed: instance → the release that served `before`, and serves `now`,
    which is `UNKNOWN` where nobody could tell; `unknown` then says why.
    `data` is the answer of a command that looks. `extra` are further fields of its JSON line.
    """

    name = "run.finished"
    outcome: str
    exit_status: int
    release: str | None
    previous: str | None
    duration_s: float
    hosts: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    serving: dict[str, dict[str, str | None]] | None = None
    data: dict[str, Any] | None = None
    silent: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        data = super().as_json()
        del data["silent"], data["extra"]
        return data | self.extra


Listener = Callable[[Event], None]


def naming_environment(listener: Listener, env: Callable[[], str | None], command: str = "") -> Listener:
    """Return a listener that gets warnings with the names for `{env}` and `{command}`; `env` is called each time."""

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            message, hint = (name_environment(text, env(), command) for text in (event.message, event.hint))
            event = dataclasses.replace(event, message=message, hint=hint)
        listener(event)

    return listen


class Bus:
    """Hands every event to every listener, in order, stamped with the run's id.

    A listener must neither raise nor block: one that writes to a screen or a pipe is given here behind
    `deployer.report.screen.Screen`. `flush` waits until what was emitted is shown.
    """

    def __init__(self, *listeners: Listener, run: str = "", flush: Callable[[], object] = lambda: None) -> None:
        self.run = run
        self._listeners = list(listeners)
        self.flush = flush

    def subscribe(self, listener: Listener) -> None:
        """Adds a listener for all later events."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Gives `event` to all listeners, with this bus's run id where it has none. May be called from any thread."""
        if not event.run and self.run:
            event = dataclasses.replace(event, run=self.run)
        for listener in self._listeners:
            listener(event)
