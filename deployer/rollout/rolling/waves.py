"""The heart: a wave is prepared, switched, proven, checked, admitted and watched. What happens on failure is written.

An instance goes through these states; the agent's own part of it (`instance.switch`) restores by itself:

    serving → drained → switched and proven → checked → admitted → soaked
                   └─ failed → (agent: previous release restored and proven) → admitted

Beside what serves, it is: switched and proven → checked → admitted → the one before drained → soaked → stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from deployer.errors import DeployError, InterruptedRun, ProgramFault
from deployer.events import WaveFinished, WaveStarted
from deployer.plan.model import InstanceStep, Plan, ProcessStep
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling import unreachable_hosts
from deployer.rollout.rolling.capacity_guard import CapacityGuard
from deployer.rollout.rolling.failure_budget import FailureBudget
from deployer.rollout.rolling.restore import Restorer
from deployer.rollout.rolling.transitions import Beside, InPlace, Transition, clear_known
from deployer.rollout.run import outcomes
from deployer.rollout.run.run import Run
from deployer.rollout.steps import resources, secrets
from deployer.rollout.steps.instances import Failures, Instances

Checks = Callable[[Sequence[InstanceStep], str], None]


@dataclass
class Progress:
    """How far a rollout has come: instances that serve the new release, and those nobody could bring back.

    `beside` are the processes that could not be. `finishing`: all waves are through, and `current` may have moved.
    `surplus` is what served before the run, and was stopped or was about to be, in slots that the settings no longer
    have.
    """

    changed: list[InstanceStep] = field(default_factory=list)
    stuck: Failures = field(default_factory=dict)
    beside: dict[ProcessStep, DeployError] = field(default_factory=dict)
    finishing: bool = False
    surplus: list[InstanceStep] = field(default_factory=list)


class Waves:
    """Carries a plan's instances to its release.

    `checks` judges proven instances before they are admitted, `judge` those that were admitted and watched. `finish`
    is what makes the release the current one after the last wave, and is given the plan as it was carried out; when it
    fails, everything goes back as after a failed wave, once `reopen` has given the balancers back the slots of before.
    `restored` is called when the instances have gone back, and returns the processes that could not.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        *,
        via: str,
        checks: Checks,
        finish: Callable[[Plan], None],
        reopen: Callable[[], None] = lambda: None,
        judge: Checks = lambda steps, release: None,
        restored: Callable[[], Mapping[ProcessStep, DeployError]] = dict[ProcessStep, DeployError],
    ) -> None:
        self._run = run
        self._plan = plan
        self._via = via
        self._checks = checks
        self._finish = finish
        self._judge = judge
        self._reopen = reopen
        self._restored = restored
        self._rolling = run.topology.settings.rolling
        self._pools = Pools(run, plan.surplus)
        self._guard = CapacityGuard(run, self._pools)
        self._instances = Instances(run, self._pools)
        self._ways: tuple[Transition, Transition] = (
            InPlace(self._pools, self._instances, self._guard, plan.surplus),
            Beside(self._pools, self._instances, self._guard),
        )
        self._back = Restorer(run, self._pools, self._instances, self._guard)
        self._budget = FailureBudget(self._rolling, run.topology.instances)
        self._budget.leave(unreachable_hosts.steps(run))
        self._progress = Progress()

    def carry_out(self) -> None:
        """All waves, in order. Failures beyond the budget end it as `rolling.on_failure` says.

        Raises RolloutError when all was restored, NeedsPersonError when something could not be or the policy is to
        stop, InterruptedRun when a person stopped it and all was restored, LeftBehindError when it came to its end and
        some instances did not.
        """
        try:
            self._pools.remember()
            unreachable_hosts.quarantine(self._run, self._pools)
            self._pools.retire(self._pools.there(self._plan.unused))
            for number, planned in enumerate(self._plan.waves, 1):
                wave = self._beside_where_too_few(planned)
                with self._wave_events(number, len(self._plan.waves), wave, self._plan.release):
                    self._run.check_interrupt()
                    self._instances.require_alive(self._progress.changed, self._plan.release)
                    self._wave(wave)
            self._instances.require_alive(self._progress.changed, self._plan.release)
            outcomes.require_a_success(self._progress.changed, self._budget.behind, self._plan)
            self._run.check_interrupt()
            self._progress.finishing = True
            self._run.behind |= self._budget.hosts
            self._stop_surplus()
            self._finish(replace(self._plan, surplus=tuple(self._progress.surplus)))
        except Exception as raised:  # whatever it was: what this run changed must not stay half way
            error = ProgramFault.of(raised)
            if self._rolling.on_failure == "stop":
                self._run.stays = bool(self._progress.changed or self._progress.stuck)
                secrets.settle(self._run, behind=set(self._run.hosts) - self._changed_hosts)
                raise outcomes.stopped_error(error, self._progress.changed, self._progress.stuck, self._plan) from error
            self._restore()
            stuck: outcomes.Stuck = [*self._progress.stuck.items(), *self._progress.beside.items()]
            self._run.stays = bool(stuck)
            raise outcomes.failure_of_run(error, stuck, self._plan, self._run.record) from error
        secrets.settle(self._run, behind=self._budget.hosts - self._changed_hosts)
        self._run.stays = True
        outcomes.require_nobody_behind(self._budget.behind, self._plan, self._run.record)

    @property
    def _changed_hosts(self) -> set[str]:
        return {step.host for step in self._progress.changed}

    @contextmanager
    def _wave_events(
        self, number: int, of: int, wave: Sequence[InstanceStep], release: str, *, restoring: bool = False
    ) -> Iterator[None]:
        """Emits the events around a wave."""
        began = time.monotonic()
        names = tuple(step.name for step in wave)
        self._run.bus.emit(WaveStarted(number, of, names, release, restoring=restoring))
        ok = False
        try:
            yield
            ok = not any(step in self._progress.stuck or step in self._budget.behind for step in wave)
        finally:
            took = time.monotonic() - began
            self._run.bus.emit(WaveFinished(number, of, ok, took, restoring=restoring))

    def _wave(self, wave: Sequence[InstanceStep]) -> None:
        wave = self._without_lost(wave)
        self._each_way(wave, lambda way, steps: way.require(steps))
        try:
            self._each_way(wave, lambda way, steps: way.prepare(steps))
        except Exception:
            self._admitted_again(wave)
            raise
        failed = self._instances.switch(wave, self._plan.release, via=self._via)
        good = [step for step in wave if step not in failed]
        if failed:
            self._give_up(failed)
            if not self._budget.allows(len(failed)):
                self._keep_or_abandon(good)
                raise next(iter(failed.values()))
            self._budget.leave(failed)
        if good:
            self._complete(good)

    def _without_lost(self, wave: Sequence[InstanceStep]) -> list[InstanceStep]:
        """The wave but for hosts that were lost before their turn: nothing was done there, so what serves may go on.

        Where the run goes on without them, they are quarantined, for they serve an earlier release.
        """
        links = {step: self._run.fleet[step.host].lost for step in wave}
        lost = {step: error for step, error in links.items() if error}
        self._run.lost.update(step.host for step in lost)
        if lost and not self._budget.allows(len(lost)):
            raise next(iter(lost.values()))
        if lost:
            self._back.quarantine(list(lost))
            self._budget.leave(dict(lost))
        return [step for step in wave if step not in lost]

    def _beside_where_too_few(self, wave: Sequence[InstanceStep]) -> Sequence[InstanceStep]:
        """The wave; beside what serves, where hosts were lost and their absence lets no more instances be missing."""
        away = self._run.lost
        if self._rolling.strategy != "auto" or not away or not self._run.balancers:
            return wave
        in_place = [step for step in wave if step.action == "restart" and step.leaves is None and step.host not in away]
        if self._guard.lets_go(self._pools.leaving(in_place)):
            return wave
        web = {host.name: host for host in self._run.topology.web}
        turned = {
            step: replace(step, action="replace", port=web[step.host].other(step.port), leaves=step.port)
            for step in in_place
            if step.before
        }
        if turned:
            names = ", ".join(step.name for step in turned)
            self._run.warn(f"no more may be missing than {', '.join(sorted(away))}: {names} changes beside what serves")
            self._plan = self._plan.instead(turned)
        return [turned.get(step, step) for step in wave]

    def _complete(self, good: Sequence[InstanceStep]) -> None:
        """Proven instances are checked, admitted and watched. What fails here stays out until it is back."""
        self._progress.changed += good
        try:
            self._checks(good, self._plan.release)
            self._each_way(good, lambda way, steps: way.take_over(steps))
            self._instances.soak(good, self._plan.release)
            self._judge(good, self._plan.release)
        except InterruptedRun:
            raise
        except DeployError as error:
            if self._rolling.on_failure != "stop" and not self._budget.allows(len(good)):
                raise
            self._progress.changed = [step for step in self._progress.changed if step not in good]
            self._progress.stuck.update(self._back.bring(good))
            if not self._budget.allows(len(good)):
                raise
            self._budget.leave(dict.fromkeys(good, error))
            return
        self._settle(good)

    def _settle(self, good: Sequence[InstanceStep]) -> None:
        """The instances serve the release; a slot that could not be emptied serves nobody, and the next run ends it."""
        remaining: Failures = {}
        for way, steps in self._by_way(good):
            remaining |= way.finish(steps)
        for step, error in remaining.items():
            self._run.warn(f"{step.name} was replaced, but what was there before did not stop: {error.message}")

    def _stop_surplus(self) -> None:
        """What the settings no longer have is drained and stopped, now that all they have serves."""
        behind = {(step.host, step.index) for step in self._budget.behind}
        # Where an instance stayed behind, what it was to take the place of is what serves.
        going = [step for step in self._plan.surplus if (step.host, step.index) not in behind]
        self._progress.surplus = [step for step in going if step.before]
        for step, error in clear_known(self._pools, self._instances, going).items():
            self._run.warn(
                f"port {step.leaves}, which is no longer used, did not stop: {error.message}", host=step.host
            )

    def _keep_or_abandon(self, good: Sequence[InstanceStep]) -> None:
        """The healthy members of a wave that failed: they are completed where the run stops, else they go back."""
        if not good:
            return
        if self._rolling.on_failure == "stop":
            self._complete(good)
            return
        self._progress.changed += good
        self._admitted_again(good)

    def _give_up(self, failed: Failures) -> None:
        """What can serve does so again before anything else is touched; a host that was lost is quarantined."""
        lost = [step for step, error in failed.items() if self._instances.is_lost(step, error)]
        self._run.lost.update(step.host for step in lost)
        restored = [step for step, error in failed.items() if self._instances.is_restored(error)]
        self._progress.stuck.update({step: error for step, error in failed.items() if step not in restored})
        self._admitted_again(restored)
        self._back.quarantine(lost)

    def _admitted_again(self, steps: Sequence[InstanceStep]) -> None:
        """Admits on the way out of a failure, whose own error is the one to report."""
        for way, mine in self._by_way(steps):
            try:
                way.abandon(mine)
            except DeployError as error:
                self._progress.stuck.update({step: error for step in mine if step not in self._progress.stuck})

    def _restore(self) -> None:
        """Everything that this run changed goes back the same gentle way: what is down first, then the newest."""
        changed = [step for step in reversed(self._progress.changed) if step.host not in self._run.lost]
        if self._progress.finishing and not self._reopened(changed):
            secrets.settle(self._run, behind=())
            return
        secrets.put_back(self._run)
        resources.put_units_back(self._run)
        if self._progress.finishing and not self._serves_where_it_was():
            return
        changed = self._down_first(changed)
        groups = _by_wave(changed, self._plan)
        for number, wave in enumerate(groups, 1):
            with self._wave_events(number, len(groups), wave, wave[0].before or "nothing", restoring=True):
                self._progress.stuck.update(self._back.bring(wave))
        if self._progress.finishing:
            self._back.current(self._plan)
        self._progress.beside.update(self._restored())

    def _reopened(self, changed: Sequence[InstanceStep]) -> bool:
        """The balancers have the slots of before again; False if not, and what took their place goes on."""
        try:
            self._reopen()
            self._pools.learn()
        except DeployError as error:
            self._progress.stuck.update(dict.fromkeys(changed, error))
            return False
        return True

    def _serves_where_it_was(self) -> bool:
        """What was stopped as no longer needed serves again, before what took its place goes; False if it cannot."""
        there = [step for step in self._progress.surplus if step.host not in self._run.lost]
        failed = self._back.again(there)
        self._progress.stuck.update(failed)
        return not failed

    def _down_first(self, steps: Sequence[InstanceStep]) -> list[InstanceStep]:
        """Those that the balancers send nobody to cost nobody on the way back, and are capacity again."""
        try:
            pools = self._pools.states().values()
        except DeployError:  # whoever goes back is going to hear of it
            return list(steps)
        names = {step: self._pools.names([(step.host, step.port)]) for step in steps}
        return sorted(
            steps,
            key=lambda step: all(any(pool[name]["serves"] for name in names[step] if name in pool) for pool in pools),
        )

    def _each_way(
        self, steps: Sequence[InstanceStep], act: Callable[[Transition, Sequence[InstanceStep]], None]
    ) -> None:
        for way, mine in self._by_way(steps):
            act(way, mine)

    def _by_way(self, steps: Sequence[InstanceStep]) -> list[tuple[Transition, list[InstanceStep]]]:
        """The steps by the way they go; ways that none goes are left out."""
        in_place, beside = self._ways
        pairs = ((in_place, [s for s in steps if not s.beside]), (beside, [s for s in steps if s.beside]))
        return [(way, mine) for way, mine in pairs if mine]


def _by_wave(changed: Sequence[InstanceStep], plan: Plan) -> list[list[InstanceStep]]:
    """`changed` in groups as large as the waves they changed in, in the order given."""
    number = {step: index for index, wave in enumerate(plan.waves) for step in wave}
    groups: dict[int, list[InstanceStep]] = {}
    for step in changed:
        groups.setdefault(number[step], []).append(step)
    return list(groups.values())
