"""Capacity, as it really is: whether enough instances serve before some are taken out of the pools."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.errors import RolloutError
from deployer.plan.rolling.waves import size_of
from deployer.rollout.pools.pools import Pools, Slot
from deployer.rollout.run.run import Run


class CapacityGuard:
    """Looks at the balancers' own words at the moment it is asked, and counts against `rolling.max_unavailable`."""

    def __init__(self, run: Run, pools: Pools) -> None:
        self._run = run
        self._pools = pools

    def require_others(self, leaving: Sequence[Slot]) -> None:
        """RolloutError unless enough others serve, at every balancer, when `leaving` are taken out.

        Of all instances, at most `max_unavailable` (at least one) may be missing; those that are down already count.
        Where the wave is all there is, nobody else could serve: that is the plan's to say, and it says so.
        """
        total = self._run.topology.instances
        at_most = max(1, size_of(self._run.topology.settings.rolling.max_unavailable, total))
        self._require(leaving, total if len(leaving) >= total else at_most)

    def lets_go(self, leaving: Sequence[Slot]) -> bool:
        """Whether enough others serve, as `require_others` has it."""
        try:
            self.require_others(leaving)
        except RolloutError:
            return False
        return True

    def require_somebody(self, leaving: Sequence[Slot]) -> None:
        """RolloutError unless others serve when `leaving` are taken out: the way back is worth more than capacity."""
        total = self._run.topology.instances
        self._require(leaving, total if len(leaving) >= total else total - 1)

    def _require(self, leaving: Sequence[Slot], allowed: int) -> None:
        if not leaving or not self._run.balancers:
            return
        shape = self._run.topology
        names = set(self._pools.names(leaving))
        for balancer, servers in self._pools.states(judged=True).items():
            up = {name for name, state in servers.items() if state["serves"]}
            # By instances: one that is up in both its slots is one, and loses nothing with the first of them.
            before, after = ({shape.instance_of(self._pools.own(name)) for name in some} for some in (up, up - names))
            if before != after and shape.instances - len(after) > allowed:
                raise self._too_few(balancer, len(before), len(before - after), allowed)

    def _too_few(self, balancer: str, up: int, leaving: int, allowed: int) -> RolloutError:
        none = "no other instance is up, so none is taken out" if up == leaving else ""
        return RolloutError(
            none or f"{up} of {self._run.topology.instances} instances are up, so {leaving} more may not be taken out",
            host=balancer,
            step="guard",
            cause=f"rolling.max_unavailable lets {allowed} be missing",
            hint=f"deploy status {self._run.topology.env} shows why the others are down",
            code="capacity",
        )
