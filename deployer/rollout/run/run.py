"""One run of a command that touches hosts: its fleet, its events, and the calls it makes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from deployer.agent.model.layout import OnSite, Site
from deployer.agent.model.messages.event import Event
from deployer.agent.model.messages.lock import Holder
from deployer.agent.model.typed import Operation, Wire
from deployer.errors import DeployError, InterruptedRun
from deployer.events import Bus, Output, StepFinished, StepStarted, Warned
from deployer.plan.topology import Topology
from deployer.remote.errors import SessionLost
from deployer.remote.fleet import Fleet
from deployer.remote.pending import OnEvent
from deployer.rollout.run.holder import holder_text
from deployer.rollout.run.parallel import map_hosts
from deployer.rollout.run.record import Record
from deployer.stopping import requester
from deployer.verify import Checker

Q = TypeVar("Q", bound=Mapping[str, object])
R = TypeVar("R")


@dataclass
class Run:
    """What every step of a run needs. `stop` is set when a person asked to wind up.

    `absent` are the hosts that it goes on without, and why. `lost` are hosts whose session died in the middle; nothing
    more is asked of them. `behind` are hosts on which an instance stayed on an earlier release, within the budget.
    `currents` is what `current` pointed at on hosts where it was moved. `stopped_by` is who cancelled it elsewhere.
    `noted` are the hosts whose ledger has its beginning.
    `stays`: it has ended, and what it brought instances stays there. `checker` is the process that runs its checks.
    """

    topology: Topology
    fleet: Fleet
    bus: Bus
    record: Record
    who: str
    stop: threading.Event
    lost: set[str] = field(default_factory=set)
    behind: set[str] = field(default_factory=set)
    stopped_by: str = ""
    absent: Mapping[str, DeployError] = field(default_factory=dict)
    stays: bool = False
    currents: dict[str, str | None] = field(default_factory=dict)
    checker: Checker = field(default_factory=Checker)
    noted: set[str] = field(default_factory=set)

    @property
    def answering(self) -> Topology:
        """The topology without the hosts that are lost: what can be judged now."""
        balancers = tuple(balancer for balancer in self.topology.balancers if balancer.name not in self.lost)
        web = tuple(web for web in self.topology.web if web.name not in self.lost)
        return replace(self.topology, web=web, balancers=balancers)

    @property
    def id(self) -> str:
        """The run's id, in every ledger line and lock."""
        return self.bus.run

    @property
    def web(self) -> list[str]:
        """Names of the web hosts that are still there."""
        return [web.name for web in self.topology.web if web.name not in self.lost]

    @property
    def balancers(self) -> list[str]:
        """Names of the balancer hosts that are still there."""
        return [balancer.name for balancer in self.topology.balancers if balancer.name not in self.lost]

    @property
    def hosts(self) -> list[str]:
        """Names of all hosts that are still there, in lock order."""
        return [host.name for host in self.topology.hosts if host.name not in self.lost]

    def site(self, host: str) -> Wire[Site]:
        """The app's site on a host, as operations take it."""
        return self.topology.site(host).to_wire()

    def on_site(self, host: str) -> OnSite:
        """The request of an operation that takes nothing but the site."""
        return OnSite(site=self.site(host))

    def warn(self, message: str, *, host: str = "", hint: str = "") -> None:
        """Tells a person something that stops nothing."""
        self.bus.emit(Warned(message, host=host, hint=hint))

    def check_interrupt(self) -> None:
        """Raises InterruptedRun when a person asked to stop. Called between steps, never inside one."""
        if self.stop.is_set():
            raise InterruptedRun(f"stopped by {self.stopped_by or requester(self.stop)} between two steps")

    @contextmanager
    def step(self, step: str, *, host: str = "", instance: str = "", detail: str = "") -> Iterator[StepNote]:
        """Emits the events around one step; the block may set a detail for its end."""
        note = StepNote(detail)
        self.bus.emit(StepStarted(step, host=host, instance=instance, detail=detail))
        began = time.monotonic()
        try:
            yield note
        except BaseException as error:
            took = time.monotonic() - began
            other = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
            text = error.message if isinstance(error, DeployError) else other
            self.bus.emit(StepFinished(step, host=host, instance=instance, ok=False, detail=text, duration_s=took))
            raise
        took = time.monotonic() - began
        self.bus.emit(StepFinished(step, host=host, instance=instance, detail=note.detail, duration_s=took))

    def call(
        self,
        host: str,
        operation: Operation[Q, R],
        request: Q,
        *,
        body: Iterable[bytes] | bytes | None = None,
        step: str = "",
        lane: str = "main",
    ) -> R:
        """One operation on one host; its output becomes events.

        Raises DeployError (with host and step) when it fails or the session is lost.
        """
        try:
            response = self.fleet[host].call(
                operation.name, request, body=body, on_event=self._events(host, step), lane=lane
            )
        except DeployError as error:
            # A lost session raises the same error to all who ask it, and each asked in a step of its own.
            own_error = copy(error) if isinstance(error, SessionLost) else error
            own_error.host = own_error.host or host
            own_error.step = own_error.step or step or operation.name
            raise own_error from error.__cause__
        return cast(R, response)  # the session has checked it

    def run_on_hosts(
        self,
        hosts: Sequence[str],
        operation: Operation[Q, R],
        request: Callable[[str], Q],
        *,
        body: Callable[[str], Iterable[bytes] | bytes | None] | None = None,
        step: str = "",
        lane: str = "main",
    ) -> dict[str, R]:
        """One operation on many hosts at once. Waits for all; then raises the first failure, in host order."""
        done, failed = self.try_on_hosts(hosts, operation, request, body=body, step=step, lane=lane)
        for host in hosts:
            if host in failed:
                raise failed[host]
        return done

    def try_on_hosts(
        self,
        hosts: Sequence[str],
        operation: Operation[Q, R],
        request: Callable[[str], Q],
        *,
        body: Callable[[str], Iterable[bytes] | bytes | None] | None = None,
        step: str = "",
        lane: str = "main",
    ) -> tuple[dict[str, R], dict[str, DeployError]]:
        """One operation on many hosts at once: the responses, and the failures of those that failed."""

        def call_host(host: str) -> R:
            return self.call(host, operation, request(host), body=body(host) if body else None, step=step, lane=lane)

        return map_hosts(hosts, call_host)

    def _events(self, host: str, step: str) -> OnEvent:
        def on_event(event: Event) -> None:
            if event.get("event") == "output":
                self.bus.emit(Output(str(event.get("line", "")), host=host, step=str(event.get("step") or step)))
            elif event.get("event") == "waiting":
                line = f"waiting for the lock, which is held by {holder_text(event.get('holder') or Holder())}"
                self.bus.emit(Output(line, host=host, step=step))

        return on_event


@dataclass
class StepNote:
    """What a step's end says."""

    detail: str = ""
