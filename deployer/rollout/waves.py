"""The heart: a wave is drained everywhere, switched, proven, checked, admitted and watched. A failure goes back.

An instance goes through these states; the agent's own part of it (`instance.switch`) restores by itself:

    serving → drained → switched and proven → checked → admitted → soaked
                   └─ failed → (agent: previous release restored and proven) → admitted
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployer.errors import DeployError, InterruptedRun, NeedsPersonError, RolloutError
from deployer.events import WaveFinished, WaveStarted
from deployer.plan.model import InstanceStep, Plan
from deployer.rollout.instances import Instances
from deployer.rollout.pools import Pools
from deployer.rollout.run import Run

Checks = Callable[[Sequence[InstanceStep], str], None]


@dataclass
class Progress:
    """How far a rollout has come: instances that serve the new release, and those nobody could bring back."""

    changed: list[InstanceStep] = field(default_factory=list)
    stuck: dict[InstanceStep, DeployError] = field(default_factory=dict)


class Waves:
    """Carries a plan's instances to its release. `checks` judges proven instances before they are admitted."""

    def __init__(self, run: Run, plan: Plan, *, via: str, checks: Checks) -> None:
        self._run = run
        self._plan = plan
        self._via = via
        self._checks = checks
        self._pools = Pools(run)
        self._instances = Instances(run)
        self._progress = Progress()

    def carry_out(self) -> None:
        """All waves, in order. On the first failure everything that changed goes back, the last wave first.

        Raises RolloutError when all was restored, NeedsPersonError when something could not be, InterruptedRun when
        a person stopped it and all was restored.
        """
        waves = self._plan.waves
        for number, wave in enumerate(waves, 1):
            began = time.monotonic()
            self._run.bus.emit(WaveStarted(number, len(waves), _names(wave), self._plan.release))
            try:
                self._run.check_interrupt()
                self._wave(wave)
            except DeployError as error:
                took = time.monotonic() - began
                self._run.bus.emit(WaveFinished(number, len(waves), False, took))
                self._restore(error)
                raise self._ending(error) from error
            took = time.monotonic() - began
            self._run.bus.emit(WaveFinished(number, len(waves), True, took))

    def _wave(self, wave: Sequence[InstanceStep]) -> None:
        release = self._plan.release
        serving = [step for step in wave if step.before is not None]
        self._guard(serving)
        self._pools.drain(serving)
        self._pools.require_fresh()
        failed = self._instances.switch(wave, release, via=self._via)
        good = [step for step in wave if step not in failed]
        self._progress.changed += good
        problem: DeployError | None = next(iter(failed.values()), None)
        if problem is None:
            try:
                self._checks(good, release)
            except DeployError as error:
                problem = error
        restored = [step for step in failed if self._instances.is_restored(failed[step]) and step.before]
        self._progress.stuck.update(
            {step: error for step, error in failed.items() if not self._instances.is_restored(error)}
        )
        if problem is None:
            self._pools.admit(good)
            self._instances.soak(good, release)
            return
        # What is proven serves again before anything else is touched; it goes back drained, like everything.
        self._pools.admit([*restored, *good])
        raise problem

    def _guard(self, serving: Sequence[InstanceStep]) -> None:
        """Enough others must serve, by the balancers' own word, before `serving` instances are taken out."""
        if not serving or not self._run.balancers:
            return
        leaving = {self._run.topology.server(step.host, step.port) for step in serving}
        for balancer, servers in self._pools.states().items():
            up = {name for name, state in servers.items() if state["serves"]}
            expected = sum(web.own.instances for web in self._run.topology.web)
            if up & leaving and expected > len(leaving) and not up - leaving:
                raise RolloutError(
                    "no other instance is up, so none is taken out",
                    host=balancer,
                    step="guard",
                    hint=f"deploy status {self._plan.env} shows why the others are down",
                )

    def _restore(self, cause: DeployError) -> None:
        """Everything that this run changed goes back the same gentle way, newest first."""
        changed = list(reversed(self._progress.changed))
        self._progress.changed.clear()
        groups = _by_wave(changed, self._plan)
        for number, wave in enumerate(groups, 1):
            began = time.monotonic()
            target = wave[0].before or "nothing"
            self._run.bus.emit(WaveStarted(number, len(groups), _names(wave), target, restoring=True))
            ok = self._restore_wave(wave)
            took = time.monotonic() - began
            self._run.bus.emit(WaveFinished(number, len(groups), ok, took, restoring=True))

    def _restore_wave(self, wave: Sequence[InstanceStep]) -> bool:
        try:
            self._pools.drain(wave)
            self._pools.require_fresh()
        except DeployError as error:
            self._progress.stuck.update(dict.fromkeys(wave, error))
            return False
        back = [step for step in wave if step.before]
        first = [step for step in wave if not step.before]
        failed = self._instances.switch_back(back)
        failed |= self._instances.stop(first)
        self._progress.stuck.update(failed)
        try:
            self._pools.admit([step for step in back if step not in failed])
        except DeployError as error:
            self._progress.stuck.update({step: error for step in back if step not in failed})
            return False
        return not failed

    def _ending(self, cause: DeployError) -> DeployError:
        """The error that the run ends with, after the restoring."""
        for step, error in self._progress.stuck.items():
            self._run.record.host(step.host, "failed")
            return NeedsPersonError(
                f"{step.name} could not be brought back: {error.message}",
                host=step.host,
                step=error.step or "restore",
                cause=f"the run had failed with: {cause}",
                log=error.log or cause.log,
                hint=f"deploy status {self._plan.env} shows what serves; deploy push {self._plan.env} heals it",
            )
        if isinstance(cause, InterruptedRun):
            return InterruptedRun(cause.message, hint=f"deploy push {self._plan.env} starts over")
        return RolloutError(
            cause.message,
            host=cause.host,
            step=cause.step,
            cause=cause.cause,
            log=cause.log,
            hint=cause.hint or "mend it and push again; everything was put back",
            code=cause.code,
        )


def _names(steps: Sequence[InstanceStep]) -> tuple[str, ...]:
    return tuple(step.name for step in steps)


def _by_wave(changed: Sequence[InstanceStep], plan: Plan) -> list[list[InstanceStep]]:
    """`changed` in groups as large as the waves they changed in, in the order given."""
    number = {step: index for index, wave in enumerate(plan.waves) for step in wave}
    groups: dict[int, list[InstanceStep]] = {}
    for step in changed:
        groups.setdefault(number[step], []).append(step)
    return list(groups.values())
