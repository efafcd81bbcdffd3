"""The way back: instances return to what served before the run, as gently as they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployer.errors import DeployError
from deployer.plan.model import InstanceStep, Plan
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling.capacity_guard import CapacityGuard
from deployer.rollout.rolling.transitions import clear, left, target_slots
from deployer.rollout.run.run import Run
from deployer.rollout.steps.current_release import demote
from deployer.rollout.steps.instances import Failures, Instances


class Restorer:
    """Brings instances back. Nothing raises: what could not be done is returned, for the run's own error says more."""

    def __init__(self, run: Run, pools: Pools, instances: Instances, guard: CapacityGuard) -> None:
        self._run = run
        self._pools = pools
        self._instances = instances
        self._guard = guard

    def bring(self, wave: Sequence[InstanceStep]) -> Failures:
        """Every step of a wave to what it served before; those that nothing served in are stopped."""
        stuck = self._beside([step for step in wave if step.beside])
        return stuck | self._in_place([step for step in wave if not step.beside])

    def again(self, steps: Sequence[InstanceStep]) -> Failures:
        """What served in slots (`port`) before the run serves there again; what still does is only admitted."""
        failed = self._instances.switch_back([step for step in steps if not self._proves(step)])
        self._note_lost(failed)
        return failed | self._admit([step for step in steps if step not in failed])

    def _proves(self, step: InstanceStep) -> bool:
        try:
            self._instances.require_alive([step], str(step.before))
        except DeployError:
            return False
        return True

    def quarantine(self, lost: Sequence[InstanceStep]) -> None:
        """Takes the slots of hosts that were lost out of the pools, until a host has proven a release."""
        reason = f"its host was lost in run {self._run.id}; it has to prove a release to come back"
        try:
            self._pools.drain([*target_slots(lost), *left(lost)], by="quarantine", reason=reason)
        except DeployError as error:
            self._run.warn(f"could not be quarantined: {error.message}", host=error.host or "")

    def current(self, plan: Plan) -> None:
        """`current` points again at what it pointed at."""
        try:
            demote(self._run, plan.ports_before)
        except DeployError as error:
            self._run.warn(f"`current` still points at the failed release: {error.message}", host=error.host or "")

    def _in_place(self, wave: Sequence[InstanceStep]) -> Failures:
        if not wave:
            return {}
        back = [step for step in wave if step.before]
        try:
            self._guard.require_somebody(self._pools.leaving(back))
            self._pools.drain([*self._pools.leaving(back), *target_slots([step for step in wave if not step.before])])
            self._pools.require_fresh()
        except DeployError as error:
            # They serve the new release, and go on with it rather than stay out.
            return dict.fromkeys(wave, error) | self._admit(wave)
        failed = self._instances.switch_back(back)
        failed |= self._instances.stop([step for step in wave if not step.before])
        self._note_lost(failed)
        failed |= self._admit([step for step in back if step not in failed])
        self.quarantine([step for step, error in failed.items() if self._instances.is_lost(step, error)])
        return failed

    def _beside(self, wave: Sequence[InstanceStep]) -> Failures:
        """The predecessor is proven where it was, started again if it had stopped; then the successor goes.

        What served in its own slot before the run too goes on there, next to what still serves in the other.
        """
        stays = [step for step in wave if step.action == "settle" and self._proves(step)]
        turned = {
            replace(step, port=step.leaves, leaves=step.port): step
            for step in wave
            if step.leaves is not None and step not in stays
        }
        failed = self._instances.switch_back(list(turned))
        self._note_lost(failed)
        good = [step for step in turned if step not in failed]
        places = {(step.host, step.port): (step.host, step.leaves) for step in good if step.leaves is not None}
        try:
            self._pools.admit_again(target_slots(good), instead=places)
            failed |= clear(self._pools, self._instances, good)
        except DeployError as error:
            failed |= dict.fromkeys([step for step in good if step not in failed], error)
        self.quarantine([step for step, error in failed.items() if self._instances.is_lost(step, error)])
        return {turned[step]: error for step, error in failed.items()} | self._both(stays)

    def _both(self, steps: Sequence[InstanceStep]) -> Failures:
        """Both slots of instances that a run which died had left in use, as far as they are still so."""
        try:
            self._pools.admit_again([*target_slots(steps), *self._pools.drained(left(steps))])
        except DeployError as error:
            return dict.fromkeys(steps, error)
        return {}

    def _admit(self, steps: Sequence[InstanceStep]) -> Failures:
        try:
            self._pools.admit_again(target_slots(steps))
        except DeployError as error:
            return dict.fromkeys(steps, error)
        return {}

    def _note_lost(self, failed: Failures) -> None:
        self._run.lost.update(step.host for step, error in failed.items() if self._instances.is_lost(step, error))
