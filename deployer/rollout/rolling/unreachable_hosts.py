"""Web hosts that are out of reach when a run begins: within `rolling.max_failures` it goes on without them."""

from __future__ import annotations

from collections.abc import Sequence

from deployer.errors import DeployError, LeftBehindError, RolloutError
from deployer.plan.model import InstanceStep
from deployer.rollout.pools.pools import Pools, Slot
from deployer.rollout.run.run import Run


def steps(run: Run) -> dict[InstanceStep, DeployError]:
    """The absent instances, each with what kept its host away: they count against the budget from the start."""
    return {
        InstanceStep(web.name, index, port, "keep", None): run.absent[web.name]
        for web in run.topology.absent
        for index, port in enumerate(web.ports)
    }


def quarantine(run: Run, pools: Pools) -> None:
    """Takes the slots of absent hosts out of the pools: one that comes back serves nobody an earlier release."""
    away: list[Slot] = [(w.name, port) for w in run.topology.absent for port in (*w.ports, *w.spare_ports)]
    reason = f"its host was out of reach in run {run.id}; it has to prove a release to come back"
    away = pools.there(away)
    _require_others(run, pools, away)
    pools.drain(away, by="quarantine", reason=reason)


def _require_others(run: Run, pools: Pools, away: Sequence[Slot]) -> None:
    """RolloutError where none but these serves: they may be well, whatever keeps us from reaching their hosts."""
    balancer = pools.only(away)
    if balancer:
        raise RolloutError(
            f"none but {', '.join(run.absent)} serves, and that is out of reach, so nothing is touched",
            host=balancer,
            step="guard",
            hint=f"deploy status {run.topology.env} shows why the others are down",
            code="capacity",
        )


def require_nobody(run: Run) -> None:
    """LeftBehindError (exit 8) that names the hosts which a run that had nothing else to do could not reach."""
    for name, error in run.absent.items():
        raise LeftBehindError(
            f"the others serve what they should, but {', '.join(run.absent)} is out of reach",
            host=name,
            step=error.step,
            cause=str(error),
            hint=f"deploy push {run.topology.env} brings it up to date once it is back",
        )
