"""A plan: everything a run is going to do, as plain data that can be shown, stored and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from deployer.agent.model.supervision import label_of

Action = Literal["start", "restart", "reload", "replace", "settle", "keep"]
"""What happens to an instance. `start`: nothing serves in it. `restart`: it stops, and starts in the same slot.
`reload`: its workers are replaced under their master (SIGHUP), and it never stops.
`replace`: its successor starts in the other slot while it serves. `settle`: the successor is there and proven already.
"""

ProcessAction = Literal["start", "restart", "stop"]
ScheduleAction = Literal["start", "move", "stop"]


@dataclass(frozen=True)
class InstanceStep:
    """One instance and what happens to it.

    `port` is the slot in which it is going to serve. `before` is the release that it serves now, None if it serves
    nothing. `leaves` is the other slot, if that is in use and has to be empty in the end; for `replace` and `settle` it
    is where `before` serves. `bind` is how `before` listens there, of a slot that the settings no longer have.
    """

    host: str
    index: int
    port: int
    action: Action
    before: str | None
    leaves: int | None = None
    bind: str = ""

    @property
    def beside(self) -> bool:
        """It changes beside what serves, which goes on meanwhile."""
        return self.action in ("replace", "settle")

    @property
    def name(self) -> str:
        """`web1:0`, as events and errors name it."""
        return f"{self.host}:{self.index}"


@dataclass(frozen=True)
class ProcessStep:
    """One process and what happens to it. `before` is the release that it has now, None if it has none.

    `first`: it is stopped before anything is started, since its like starts on another host.
    """

    host: str
    process: str
    number: int
    action: ProcessAction
    before: str | None
    first: bool = False

    @property
    def label(self) -> str:
        """`worker@1`, as the host calls it."""
        return label_of(self.process, self.number)

    @property
    def name(self) -> str:
        """`web1:worker@1`, as events and errors name it."""
        return f"{self.host}:{self.label}"


@dataclass(frozen=True)
class ScheduleStep:
    """One schedule and what happens to it on a host. `before` is the release that it starts in now, None for none."""

    host: str
    schedule: str
    action: ScheduleAction
    before: str | None

    @property
    def name(self) -> str:
        """`web1:nightly`, as events and errors name it."""
        return f"{self.host}:{self.schedule}"


@dataclass(frozen=True)
class FileChange:
    """A file, link, unit or package that the run would change on a host. `diff` is a unified diff or empty."""

    host: str
    kind: str
    name: str
    action: str
    diff: str = ""


@dataclass(frozen=True)
class VenvRepair:
    """A complete release whose virtualenv is damaged on a host, which builds it again before anything stops."""

    host: str
    release: str
    why: str


@dataclass(frozen=True)
class Inferred:
    """Something that the settings leave open, what was chosen, and why."""

    what: str
    value: str
    why: str


@dataclass(frozen=True)
class PlanNotes:
    """What a plan tells beside its steps: the hooks that run with them, what was inferred, what to know before."""

    hooks: Mapping[str, str] = field(default_factory=dict)
    inferred: Sequence[Inferred] = ()
    warnings: Sequence[str] = ()
    source: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    `waves` are instances changed together, in order; an instance with action `keep` is in none. `builds` are the
    hosts that do not have the release yet. `why` says in one line what makes the run necessary. `unused` are the slots
    (host, port) that nothing serves in; `surplus` what still runs in slots (`leaves`) that the settings no longer have.
    `judged` says how waves are judged by the balancers' figures, or why not.
    `processes` are those beside the instances that change, before the first wave; those that go, go at the end.
    `schedules` are those that change after everything else.
    """

    command: str
    app: str
    env: str
    release: str
    previous: str | None
    strategy: str
    strategy_why: str
    waves: tuple[tuple[InstanceStep, ...], ...]
    kept: tuple[InstanceStep, ...] = ()
    builds: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()
    secrets_changed: tuple[str, ...] = ()
    hooks: Mapping[str, str] = field(default_factory=dict)
    inferred: tuple[Inferred, ...] = ()
    warnings: tuple[str, ...] = ()
    source: str = ""
    why: str = ""
    promotes: tuple[str, ...] = ()
    unused: tuple[tuple[str, int], ...] = ()
    surplus: tuple[InstanceStep, ...] = ()
    judged: str = ""
    processes: tuple[ProcessStep, ...] = ()
    schedules: tuple[ScheduleStep, ...] = ()
    repairs: tuple[VenvRepair, ...] = ()

    @property
    def ports(self) -> dict[str, list[int]]:
        """Host → the slots that its instances serve in at the end."""
        ports_by_host: dict[str, list[int]] = {}
        for step in (*self.steps, *self.kept):
            ports_by_host.setdefault(step.host, []).append(step.port)
        return {host: sorted(ports) for host, ports in ports_by_host.items()}

    @property
    def ports_before(self) -> dict[str, list[int]]:
        """Host → the slots that its instances serve in now."""
        ports_by_host: dict[str, list[int]] = {}
        for step in (*self.steps, *self.kept):
            port = step.leaves if step.beside and step.leaves is not None else step.port
            ports_by_host.setdefault(step.host, []).append(port)
        return {host: sorted(ports) for host, ports in ports_by_host.items()}

    def instead(self, steps: Mapping[InstanceStep, InstanceStep]) -> Plan:
        """Return the same plan, in which instances change another way: step → what takes its place."""
        return replace(self, waves=tuple(tuple(steps.get(step, step) for step in wave) for wave in self.waves))

    @property
    def empty(self) -> bool:
        """Nothing to build, to change or to restart, and no `current` to move."""
        todo = (
            self.waves,
            self.builds,
            self.repairs,
            self.changes,
            self.secrets_changed,
            self.promotes,
            self.surplus,
            self.processes,
            self.schedules,
        )
        return not any(todo)

    @property
    def steps(self) -> tuple[InstanceStep, ...]:
        """All instances that change, in order."""
        return tuple(step for wave in self.waves for step in wave)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        return asdict(self) | {"digest": self.digest}

    @property
    def digest(self) -> str:
        """SHA-256 over what would be done, as 16 hex digits."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
