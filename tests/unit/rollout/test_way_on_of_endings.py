"""What is to be typed after a run whose instances could not be brought back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deployer.errors import DeployError, RolloutError
from deployer.plan.model import InstanceStep
from deployer.remote.errors import AgentError
from deployer.rollout.run.outcomes import failure_of_run
from deployer.rollout.run.record import Record

OPENS = "deploy setup prod opens its socket again"


def way_on(error: DeployError) -> str:
    """The hint of a run in which one instance could not be brought back because of `error`."""
    plan: Any = SimpleNamespace(env="prod")
    step = InstanceStep("web1", 0, 8000, "restart", "20240101T000000Z-aaaaaaaa")
    return str(failure_of_run(RolloutError("web1:0 is not healthy"), [(step, error)], plan, Record("push")).hint)


def test_a_balancer_that_cannot_be_asked_comes_before_the_push_that_it_would_refuse() -> None:
    silent = AgentError("balancer_down", "HAProxy cannot be asked", hint=OPENS, host="lb1")
    assert way_on(silent) == f"{OPENS}; deploy push prod --wait 5m then heals it"


def test_of_anything_else_status_comes_first() -> None:
    failed = AgentError("unhealthy", "it answers 500", hint="look at it", host="web1")
    assert way_on(failed) == "deploy status prod shows what serves; deploy push prod --wait 5m then heals it"
