"""The processes beside the instances in a rolling change: first to the new release, with it back, gone at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deployer.agent.model.messages import instances as wire
from deployer.agent.model.supervision import Process
from deployer.agent.model.typed import Wire
from deployer.errors import DeployError, InterruptedRun, RolloutError
from deployer.plan.facts import Facts
from deployer.plan.model import Plan, ProcessStep
from deployer.plan.rolling import processes
from deployer.plan.topology import WebHost
from deployer.remote.errors import AgentError
from deployer.rollout.run.outcomes import failure_of_run
from deployer.rollout.run.parallel import by_host, map_hosts
from deployer.rollout.run.run import Run
from deployer.rollout.steps import secrets
from deployer.rollout.steps.log_reader import last_words

Failures = dict[ProcessStep, DeployError]


class Processes:
    """Those of one plan. `forward` comes before the waves, `finish` with their end, `back` where the run goes back."""

    def __init__(self, run: Run, plan: Plan, *, via: str) -> None:
        self._run = run
        self._plan = plan
        self._via = via
        self._moved: dict[ProcessStep, int] = {}
        self._gone: list[ProcessStep] = []
        self._down: Failures = {}

    def forward(self) -> None:
        """Every process to the release: one of each kind alone, then the hosts at once, each host's in turn.

        Raises:
            RolloutError: one failed and all that had moved are back. NeedsPersonError: one could not be brought back.
            InterruptedRun: a person stopped it, likewise.
        """
        try:
            for step in [step for step in self._plan.processes if step.first]:
                self._stop(step)
                self._gone.append(step)
            for kind in dict.fromkeys(step.process for step in self._plan.processes if step.action != "stop"):
                mine = [step for step in self._plan.processes if step.process == kind and step.action != "stop"]
                self._some(mine[:1])
                self._some(mine[1:])
        except DeployError as error:
            raise self._ending(error) from error

    def require_alive(self) -> None:
        """RolloutError unless every process that moved is still the one that was proven."""
        hosts = by_host(self._moved)
        answers = self._run.run_on_hosts(
            list(hosts),
            wire.PROCESSES,
            lambda host: wire.LookAtProcesses(
                site=self._run.site(host), processes=[self._wire(step) for step in hosts[host]]
            ),
            step="processes",
        )
        for step, pid in self._moved.items():
            state = answers[step.host]["processes"][step.label]
            if pid and (not state["running"] or state["pid"] != pid):
                raise RolloutError(
                    f"{step.name} died after it had started (pid {pid})",
                    host=step.host,
                    step="processes",
                    cause=state["why"] or f"process {state['pid']} has its place",
                    log=self._log(step),
                    code="died",
                )

    def finish(self) -> None:
        """What the settings no longer have stops, now that everything else is there. What cannot is warned about."""
        for step in self._plan.processes:
            if step.action == "stop" and not step.first:
                try:
                    self._stop(step)
                except DeployError as error:
                    self._run.warn(f"{step.label} is no longer used, and did not stop: {error.message}", host=step.host)

    def back(self) -> Failures:
        """Those that moved return to what they had, newest first. What could not be is returned."""
        failed, self._down = self._down, {}
        twice: set[str] = set()
        for step in (*reversed(list(self._moved)), *reversed(self._gone)):
            try:
                if step.before is None:
                    self._stop(step)
                elif step.process in twice:
                    raise RolloutError(
                        f"{step.process} may still run on another host, and runs on one only", host=step.host
                    )
                else:
                    self._switch(step, step.before, "restore")
            except DeployError as error:
                failed[step] = error
                settings = self._run.topology.settings.processes.get(step.process)
                twice |= {step.process} if settings and settings.singleton else set()
        self._moved.clear()
        self._gone.clear()
        return failed

    def _ending(self, cause: DeployError) -> DeployError:
        """What moved goes back; the error to end with. No instance was touched, which a person is told."""
        secrets.put_back(self._run)
        stuck = self.back()
        if stuck:
            return failure_of_run(cause, list(stuck.items()), self._plan, self._run.record)
        if isinstance(cause, InterruptedRun):
            return cause
        hint = "mend it, then type deploy {command} {env}; everything was put back, and no instance was touched"
        return cause.as_kind(RolloutError, hint=hint)

    def _some(self, steps: Sequence[ProcessStep]) -> None:
        """Hosts at the same time, one host's steps in turn until one fails; raises the first failure."""
        self._run.check_interrupt()
        hosts = by_host(steps)

        def one_host(host: str) -> None:
            for step in hosts[host]:
                try:
                    self._moved[step] = self._switch(step, self._plan.release, self._via)
                except AgentError as error:
                    if not error.detail.get("restored", True):
                        self._down[step] = error
                    raise

        _, failed = map_hosts(list(hosts), one_host)
        for error in failed.values():
            raise error

    def _switch(self, step: ProcessStep, release: str, via: str) -> int:
        run = self._run
        request = wire.SwitchProcess(
            site=run.site(step.host), run=run.id, process=self._wire(step), release=release, via=via
        )
        with run.step("process", host=step.host, instance=step.name, detail=release) as note:
            pid = run.call(step.host, wire.SWITCH_PROCESS, request, step="process")["pid"]
            note.detail = f"{release} runs as process {pid}" if pid else f"{release} has no such process"
        run.record.process(step.host, step.label, release, "restored" if via == "restore" else "proven")
        return pid

    def _stop(self, step: ProcessStep) -> None:
        run = self._run
        request = wire.StopProcess(site=run.site(step.host), run=run.id, process=self._wire(step))
        with run.step("stop", host=step.host, instance=step.name):
            run.call(step.host, wire.STOP_PROCESS, request, step="stop")
        run.record.process(step.host, step.label, None, "stopped")

    def _wire(self, step: ProcessStep) -> Wire[Process]:
        return processes.wire(self._run.topology, self._run.topology.web_host(step.host), step.label)

    def _log(self, step: ProcessStep) -> list[str]:
        web = self._run.topology.web_host(step.host)
        return last_words(self._run, step.host, self._run.topology.process(web, step.process, step.number).verbs)


def stop_processes(run: Run, hosts: Sequence[WebHost], facts: Facts) -> None:
    """Every process that these hosts have ends, in its own time, and stays down. Raises what the first refuses."""
    for web in hosts:
        for label, process_facts in facts[web.name].processes.items():
            if process_facts.release is None:
                continue
            with run.step("stop", host=web.name, instance=f"{web.name}:{label}"):
                process = processes.wire(run.topology, web, label)
                request = wire.StopProcess(site=run.site(web.name), run=run.id, process=process)
                run.call(web.name, wire.STOP_PROCESS, request, step="stop")


def with_processes(moved: Processes, finish: Callable[[], None]) -> Callable[[], None]:
    """The end of a run: what moved must still live, then `finish`, then what is no longer used goes."""

    def both() -> None:
        moved.require_alive()
        finish()
        moved.finish()

    return both
