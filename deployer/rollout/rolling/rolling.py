"""One rolling change, as push, reload and rollback share it: the waves, with users' traffic beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deployer.agent.model.messages.site import NOTE_PLAN, NotePlan
from deployer.plan.facts import Facts
from deployer.plan.model import InstanceStep, Plan
from deployer.rollout.rolling.waves import Waves
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run
from deployer.rollout.steps import secrets
from deployer.rollout.steps.checks import instance_checks
from deployer.rollout.steps.processes import Processes, with_processes
from deployer.rollout.steps.schedules import Schedules
from deployer.rollout.traffic.canary import Canary
from deployer.rollout.traffic.receipt import probe_traffic


def roll(
    run: Run,
    project: Project,
    plan: Plan,
    facts: Facts,
    *,
    via: str,
    finish: Callable[[Plan], None],
    reopen: Callable[[], None] = lambda: None,
) -> None:
    """Carries the plan out; `finish` makes its release the current one, and is given the plan as it was carried out.

    `reopen` gives the balancers back what `finish` took from them and the way back needs.

    Raises what `Waves.carry_out` raises.
    """
    run.topology = run.topology.beside_serving(facts, facts.known(plan.release))
    instance, canary = instance_checks(run, project), Canary(run, plan)

    def checks(steps: Sequence[InstanceStep], release: str) -> None:
        instance(steps, release)
        canary.look_before(steps)

    with secrets.put_back_on_failure(run):
        noted = plan.as_dict()
        run.run_on_hosts(
            run.hosts, NOTE_PLAN, lambda host: NotePlan(site=run.site(host), run=run.id, plan=noted), step="plan"
        )
    with probe_traffic(run, plan) as watch:

        def judge(steps: Sequence[InstanceStep], release: str) -> None:
            watch.require_few(steps, release)
            canary.judge(steps, release)

        beside, times = Processes(run, plan, via=via), Schedules(run, plan)
        with secrets.put_back_on_failure(run):
            watch.begin()
            beside.forward()
        with canary.counting():
            Waves(
                run,
                plan,
                via=via,
                checks=checks,
                finish=lambda carried: times.after(with_processes(beside, lambda: finish(carried)))(),
                reopen=reopen,
                judge=judge,
                restored=beside.back,
            ).carry_out()
        times.require_moved()
