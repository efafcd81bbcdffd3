"""`deploy maintenance`: users get a page that says so, while pushes, checks and the app itself go on beneath it."""

from __future__ import annotations

from deployer.agent.model.messages.balancer import SET_MAINTENANCE, SetMaintenance
from deployer.errors import UsageError
from deployer.events import Output
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.run.recording import recorded
from deployer.rollout.traffic.maintenance_page import maintenance_text


@recorded
def maintenance(project: Project, invocation: Invocation, *, on: bool, reason: str) -> None:
    """Closes the app to its users at every balancer, or opens it. `unchanged` where it was so at all of them.

    UsageError where there is no balancer that deploy configures.
    """
    topology = project.topology
    if not topology.balancers or not topology.settings.balancer.manage:
        raise UsageError(
            "no balancer that deploy configures could show a page",
            hint="add a group `balancers` to the inventory, or close the app where its users come in",
        )
    balancers_project = project.reached_by(topology.balancers_alone)
    with open_run(balancers_project, invocation.unstoppable()) as run:
        drivers = topology.drivers
        answers = run.run_on_hosts(
            run.balancers,
            SET_MAINTENANCE,
            lambda host: SetMaintenance(
                site=run.site(host), driver=drivers[host], on=on, reason=reason, who=project.who
            ),
            step="maintenance",
        )
        invocation.record.in_ledgers |= set(answers)  # as `closed` and `opened`
        changed = any(answer["changed"] for answer in answers.values())
        invocation.record.outcome = "succeeded" if changed else "unchanged"
        for host, answer in answers.items():
            invocation.record.host(host, "closed" if on else "open")
            page = answer["maintenance"]
            invocation.bus.emit(Output(maintenance_text(page) if page else "users reach the app", host=host))
