"""One rolling change, as push, reload and rollback share it: the waves, with users' traffic beside them."""

from __future__ import annotations

from collections.abc import Callable

from deployer.plan.model import Plan
from deployer.rollout.checks import instance_checks
from deployer.rollout.project import Project
from deployer.rollout.receipt import watched
from deployer.rollout.run import Run
from deployer.rollout.waves import Waves


def roll(run: Run, project: Project, plan: Plan, *, via: str, finish: Callable[[], None]) -> None:
    """Carries the plan out; `finish` makes its release the current one. Raises what `Waves.carry_out` raises."""
    checks = instance_checks(run, project)
    with watched(run) as watch:
        watch.begin()
        Waves(run, plan, via=via, checks=checks, finish=finish, judge=watch.require_few).carry_out()
