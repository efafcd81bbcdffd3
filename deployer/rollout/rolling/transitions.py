"""How instances come from one release to another, in one wave: what happens before and after they are switched.

    in place    drain → switch ───────────────→ checks → admit ──────────────→ soak   (a reload may need no drain)
    beside              switch (other slot) ──→ checks → admit → drain before → soak → stop before

A way is told of a wave's instances at these moments; the switch itself is the agents' (`Instances.switch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from deployer.plan.model import InstanceStep
from deployer.rollout.pools.pools import Pools, Slot
from deployer.rollout.rolling.capacity_guard import CapacityGuard
from deployer.rollout.steps.instances import Failures, Instances


class Transition(Protocol):
    """One way to change instances. Every method takes the steps of one wave that go this way, maybe none."""

    def require(self, steps: Sequence[InstanceStep]) -> None:
        """Raises when the steps may not change now; nothing is touched."""

    def prepare(self, steps: Sequence[InstanceStep]) -> None:
        """Before anything stops. When it raises, `abandon` is called."""

    def take_over(self, steps: Sequence[InstanceStep]) -> None:
        """The proven and checked instances get the requests."""

    def finish(self, steps: Sequence[InstanceStep]) -> Failures:
        """After the soak: what was there before goes, where it still runs. Returns what could not be stopped."""

    def abandon(self, steps: Sequence[InstanceStep]) -> None:
        """The steps serve what they served before the wave, or proved the release in vain: requests go there again."""


class InPlace:
    """The instance is drained, stops, and starts in the same slot; or its workers are replaced there.

    `surplus` are slots of before, of which an instance may take the place of its own.
    """

    def __init__(
        self, pools: Pools, instances: Instances, guard: CapacityGuard, surplus: Sequence[InstanceStep]
    ) -> None:
        self._pools = pools
        self._instances = instances
        self._guard = guard
        self._former = {(step.host, step.index): (step.host, step.port) for step in surplus}

    def require(self, steps: Sequence[InstanceStep]) -> None:
        """Enough others serve."""
        self._guard.require_others(self._pools.leaving(steps))

    def prepare(self, steps: Sequence[InstanceStep]) -> None:
        """Drains what serves."""
        self._pools.drain(self._pools.leaving(steps))
        self._pools.require_fresh()

    def take_over(self, steps: Sequence[InstanceStep]) -> None:
        former = {(s.host, s.port): self._former[s.host, s.index] for s in steps if (s.host, s.index) in self._former}
        self._pools.admit(target_slots(steps), instead=former)

    def finish(self, steps: Sequence[InstanceStep]) -> Failures:
        return clear(self._pools, self._instances, steps)

    def abandon(self, steps: Sequence[InstanceStep]) -> None:
        self._pools.admit_again(target_slots([step for step in steps if step.before]))


class Beside:
    """A successor is proven in the instance's other slot while it serves; the one before stops last of all."""

    def __init__(self, pools: Pools, instances: Instances, guard: CapacityGuard) -> None:
        self._pools = pools
        self._instances = instances
        self._guard = guard

    def require(self, steps: Sequence[InstanceStep]) -> None:
        """Nothing is taken out before its successor serves."""

    def prepare(self, steps: Sequence[InstanceStep]) -> None:
        """Whatever starts in the other slots gets no request before it is admitted."""
        self._pools.watch()
        self._pools.retire(target_slots([step for step in steps if step.action == "replace"]))

    def take_over(self, steps: Sequence[InstanceStep]) -> None:
        """Successors in, predecessors out: they go on running until the wave was watched, so the way back is short."""
        places = {(step.host, step.port): (step.host, step.leaves) for step in steps if step.leaves is not None}
        self._pools.admit(target_slots(steps), instead=places)
        self._guard.require_others(left(steps))
        self._pools.drain(left(steps))

    def finish(self, steps: Sequence[InstanceStep]) -> Failures:
        return clear(self._pools, self._instances, steps)

    def abandon(self, steps: Sequence[InstanceStep]) -> None:
        """What was there before never left; the slots of the successors stay out."""


def target_slots(steps: Sequence[InstanceStep]) -> list[Slot]:
    """The slots in which the steps are going to serve."""
    return [(step.host, step.port) for step in steps]


def left(steps: Sequence[InstanceStep]) -> list[Slot]:
    """The other slots, which have to be empty in the end."""
    return [(step.host, step.leaves) for step in steps if step.leaves is not None]


def clear(pools: Pools, instances: Instances, steps: Sequence[InstanceStep]) -> Failures:
    """Empties the slots that the steps leave: no request, no process, no link."""
    leaving = [step for step in steps if step.leaves is not None]
    if not leaving:
        return {}
    pools.drain(left(leaving))
    failed = instances.stop(leaving, left=True)
    pools.retire(left([step for step in leaving if step not in failed]))
    return failed


def clear_known(pools: Pools, instances: Instances, steps: Sequence[InstanceStep]) -> Failures:
    """`clear`, also of slots that a balancer does not know: those are only stopped."""
    if not steps:
        return {}
    known = pools.known()
    there = [step for step in steps if step.leaves is not None and pools.name((step.host, step.leaves)) in known]
    failed = clear(pools, instances, there)
    return failed | instances.stop([step for step in steps if step not in there], left=True)
