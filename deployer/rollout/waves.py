"""The heart: a wave is drained everywhere, switched, proven, checked, admitted and watched. A failure goes back.

An instance goes through these states; the agent's own part of it (`instance.switch`) restores by itself:

    serving → drained → switched and proven → checked → admitted → soaked
                   └─ failed → (agent: previous release restored and proven) → admitted
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from deployer.errors import DeployError, InterruptedRun, NeedsPersonError, RolloutError
from deployer.events import WaveFinished, WaveStarted
from deployer.plan.model import InstanceStep, Plan
from deployer.remote.errors import AgentError, SessionLost
from deployer.rollout.finish import promote
from deployer.rollout.instances import Failures, Instances
from deployer.rollout.pools import Pools
from deployer.rollout.run import Run

Checks = Callable[[Sequence[InstanceStep], str], None]


@dataclass
class Progress:
    """How far a rollout has come: instances that serve the new release, and those nobody could bring back.

    `finishing`: all waves are through, and `current` may have moved.
    """

    changed: list[InstanceStep] = field(default_factory=list)
    stuck: dict[InstanceStep, DeployError] = field(default_factory=dict)
    finishing: bool = False


class Waves:
    """Carries a plan's instances to its release.

    `checks` judges proven instances before they are admitted. `finish` is what makes the release the current one
    after the last wave; when it fails, everything goes back as after a failed wave.
    """

    def __init__(self, run: Run, plan: Plan, *, via: str, checks: Checks, finish: Callable[[], None]) -> None:
        self._run = run
        self._plan = plan
        self._via = via
        self._checks = checks
        self._finish = finish
        self._pools = Pools(run)
        self._instances = Instances(run, may_stop=self._pools.require_fresh)
        self._progress = Progress()

    def carry_out(self) -> None:
        """All waves, in order. On the first failure everything that changed goes back, the last wave first.

        Raises RolloutError when all was restored, NeedsPersonError when something could not be, InterruptedRun when
        a person stopped it and all was restored.
        """
        try:
            for number, wave in enumerate(self._plan.waves, 1):
                with self._told(number, len(self._plan.waves), wave, self._plan.release):
                    self._run.check_interrupt()
                    self._wave(wave)
            self._progress.finishing = True
            self._finish()
        except DeployError as error:
            self._restore()
            raise self._ending(error) from error

    @contextmanager
    def _told(
        self, number: int, of: int, wave: Sequence[InstanceStep], release: str, *, restoring: bool = False
    ) -> Iterator[None]:
        """Emits the events around a wave."""
        began = time.monotonic()
        self._run.bus.emit(WaveStarted(number, of, _names(wave), release, restoring=restoring))
        ok = False
        try:
            yield
            ok = not any(step in self._progress.stuck for step in wave)
        finally:
            took = time.monotonic() - began
            self._run.bus.emit(WaveFinished(number, of, ok, took, restoring=restoring))

    def _wave(self, wave: Sequence[InstanceStep]) -> None:
        serving = [step for step in wave if step.before is not None]
        self._guard(serving)
        try:
            self._pools.drain(serving)
            self._pools.require_fresh()
        except DeployError:
            self._admit_again(serving)
            raise
        failed = self._instances.switch(wave, self._plan.release, via=self._via)
        good = [step for step in wave if step not in failed]
        self._progress.changed += good
        if failed:
            self._after_failure(failed, good)
            raise next(iter(failed.values()))
        # What fails here stays out of the pools until it is back on its earlier release.
        self._checks(good, self._plan.release)
        self._pools.admit(good)
        self._instances.soak(good, self._plan.release)

    def _after_failure(self, failed: Failures, good: Sequence[InstanceStep]) -> None:
        """What can serve does so again before anything else is touched; a host that was lost is quarantined."""
        lost = self._lost(failed)
        restored = [step for step, error in failed.items() if self._instances.is_restored(error)]
        self._progress.stuck.update({step: error for step, error in failed.items() if step not in restored})
        self._admit_again([*(step for step in restored if step.before), *good])
        self._quarantine(lost)

    def _lost(self, failed: Failures) -> list[InstanceStep]:
        """Those whose host's session died; nothing more is asked of such a host."""
        lost = [step for step, error in failed.items() if isinstance(error, SessionLost)]
        self._run.lost.update(step.host for step in lost)
        return lost

    def _quarantine(self, lost: Sequence[InstanceStep]) -> None:
        reason = f"its host was lost in run {self._run.id}; it has to prove a release to come back"
        try:
            self._pools.drain(lost, by="quarantine", reason=reason)
        except DeployError as error:
            self._run.warn(f"could not be quarantined: {error.message}", host=error.host or "")

    def _admit_again(self, steps: Sequence[InstanceStep]) -> None:
        """Admits on the way out of a failure, whose own error is the one to report."""
        try:
            self._pools.admit(steps)
        except DeployError as error:
            self._progress.stuck.update({step: error for step in steps if step not in self._progress.stuck})

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

    def _restore(self) -> None:
        """Everything that this run changed goes back the same gentle way, newest first."""
        changed = [step for step in reversed(self._progress.changed) if step.host not in self._run.lost]
        groups = _by_wave(changed, self._plan)
        for number, wave in enumerate(groups, 1):
            with self._told(number, len(groups), wave, wave[0].before or "nothing", restoring=True):
                self._restore_wave(wave)
        if self._progress.finishing:
            try:
                promote(self._run, self._plan.previous, via="restore")
            except DeployError as error:
                self._run.warn(f"`current` still points at the failed release: {error.message}", host=error.host or "")

    def _restore_wave(self, wave: Sequence[InstanceStep]) -> None:
        back = [step for step in wave if step.before]
        try:
            self._guard(back)
            self._pools.drain(wave)
            self._pools.require_fresh()
        except DeployError as error:
            # They serve the new release, and go on with it rather than stay out.
            self._progress.stuck.update(dict.fromkeys(wave, error))
            self._admit_again(wave)
            return
        failed = self._instances.switch_back(back)
        failed |= self._instances.stop([step for step in wave if not step.before])
        self._progress.stuck.update(failed)
        lost = self._lost(failed)
        self._admit_again([step for step in back if step not in failed])
        self._quarantine(lost)

    def _ending(self, cause: DeployError) -> DeployError:
        """The error that the run ends with, after the restoring."""
        for step, error in self._progress.stuck.items():
            self._run.record.host(step.host, "failed")
            why = str(error.detail.get("undo") or error.message) if isinstance(error, AgentError) else error.message
            return NeedsPersonError(
                f"{step.name} could not be brought back: {why}",
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
