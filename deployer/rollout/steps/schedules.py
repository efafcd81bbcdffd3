"""Schedules in a rolling change: they go to the release when it is the current one for good, and not before.

A release that may still go back must not run a job of the night. So the waves, `current` and the checks of the whole
fleet come first; what fails here takes nothing back, and the next push takes it up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from deployer.agent.model.messages import instances as wire
from deployer.agent.model.resources import Absent
from deployer.agent.model.supervision import Schedule
from deployer.agent.model.typed import Wire
from deployer.errors import DeployError, NeedsPersonError, RolloutError
from deployer.plan.facts import Facts
from deployer.plan.model import Plan, ScheduleStep
from deployer.plan.rolling import schedules
from deployer.plan.topology import WebHost
from deployer.rollout.run.parallel import by_host, map_hosts
from deployer.rollout.run.run import Run
from deployer.rollout.steps import resources
from deployer.rollout.steps.resources import HostResources

WAIT_S = 5.0
"""How long a host waits for the end of a run at a time; in between a person may interrupt."""


class Schedules:
    """Those of one plan. `move` carries them out and never raises; `require_moved` raises what it met."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._failed: dict[ScheduleStep, DeployError] = {}

    def after(self, finish: Callable[[], None]) -> Callable[[], None]:
        """`finish`, and then the schedules."""

        def both() -> None:
            finish()
            self.move()

        return both

    def move(self) -> None:
        """First every schedule that leaves its host, a run under way to its end; then the others, hosts at once.

        A singleton that did not leave its host is not started on another.
        """
        behind = self._run.behind | self._run.lost
        going = [step for step in self._plan.schedules if step.action == "stop"]
        self._some([step for step in going if step.host not in behind])
        stuck = {step.schedule for step in going if step.host in behind or step in self._failed}
        known = self._run.topology.settings.schedules
        moving = [step for step in self._plan.schedules if step.action != "stop" and step.host not in behind]
        self._some([step for step in moving if not (step.schedule in stuck and known[step.schedule].singleton)])
        for step, error in self._failed.items():
            self._run.warn(f"the schedule {step.name} did not {step.action}: {error.message}", host=step.host)

    def require_moved(self) -> None:
        """NeedsPersonError for the first that did not do as planned. The app itself runs the release."""
        for step, error in self._failed.items():
            failure = error.as_kind(NeedsPersonError)
            failure.message = (
                f"the release is current, but the schedule {step.name} did not {step.action}: {error.message}"
            )
            failure.hint = error.hint or f"deploy push {self._plan.env} again takes it up"
            raise failure

    def _some(self, steps: Sequence[ScheduleStep]) -> None:
        hosts = by_host(steps)

        def one_host(host: str) -> None:
            for step in hosts[host]:
                try:
                    self._one(step)
                except DeployError as error:
                    self._failed[step] = error

        map_hosts(list(hosts), one_host)

    def _one(self, step: ScheduleStep) -> None:
        if step.action == "stop":
            web = self._run.topology.web_host(step.host)
            stop_schedule(self._run, web, step.schedule)
            resources.apply(self._run, [_without(self._run, web, step.schedule)])
            self._run.record.schedule(step.host, step.schedule, None, "stopped")
            return
        with self._run.step("schedule", host=step.host, instance=step.name, detail=self._plan.release) as note:
            request = wire.SwitchSchedule(
                site=self._run.site(step.host),
                run=self._run.id,
                schedule=_wire(self._run, step.host, step.schedule),
                release=self._plan.release,
            )
            answer = self._run.call(step.host, wire.SWITCH_SCHEDULE, request, step="switch")
            if not answer["armed"]:
                note.detail = f"{self._plan.release} has no such schedule"
        release = self._plan.release if answer["armed"] else None
        self._run.record.schedule(step.host, step.schedule, release, "scheduled" if release else "stopped")


def stop_schedules(run: Run, hosts: Sequence[WebHost], facts: Facts) -> None:
    """Every schedule that these hosts have ends with the run that is under way. Raises what the first refuses."""
    for web in hosts:
        for name, schedule in facts[web.name].schedules.items():
            if schedule.release is not None or schedule.pid:
                stop_schedule(run, web, name)


def stop_schedule(run: Run, web: WebHost, name: str) -> None:
    """One schedule of a host starts no more, and its run that is under way has ended.

    RolloutError when that takes longer than it may, InterruptedRun when a person does not want to wait.
    """
    deadline = time.monotonic() + run.topology.schedule(web, name).graceful
    with run.step("stop", host=web.name, instance=f"{web.name}:{name}"):
        pid, warned = -1, False
        while pid:
            run.check_interrupt()
            if pid > 0 and not warned:
                run.warn(f"a run of {name} is under way (process {pid}), and is let finish", host=web.name)
                warned = True
            if time.monotonic() >= deadline:
                raise RolloutError(
                    f"a run of {name} has not ended in the time that it has: process {pid} is still there",
                    host=web.name,
                    step="stop",
                    hint=f"wait for its end, or kill {pid} on that host; then type deploy {{command}} {{env}}",
                    code="still_runs",
                )
            request = wire.StopSchedule(
                site=run.site(web.name), run=run.id, schedule=_wire(run, web.name, name), wait=WAIT_S
            )
            pid = run.call(web.name, wire.STOP_SCHEDULE, request, step="stop")["pid"]


def _wire(run: Run, host: str, name: str) -> Wire[Schedule]:
    return schedules.wire(run.topology, run.topology.web_host(host), name)


def _without(run: Run, web: WebHost, name: str) -> HostResources:
    """The files of a schedule, gone, with what makes that known: all handlers of its supervisor."""
    supervisor = run.topology.supervisor(web)
    handlers = supervisor.handlers(web.site)
    gone = tuple(Absent(path, tuple(handlers)) for path in supervisor.schedule_files(web.site, name))
    return HostResources(web.name, gone, handlers)
