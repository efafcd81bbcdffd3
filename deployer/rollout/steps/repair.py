"""Damaged virtualenvs are built again, beside what serves and before anything stops."""

from __future__ import annotations

from deployer.agent.model.messages.dependencies import REPAIR, RepairVenv
from deployer.errors import DeployError, NotReadyError
from deployer.plan.model import Plan, VenvRepair
from deployer.rollout.run.outcomes import translate_errors
from deployer.rollout.run.parallel import map_hosts
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run
from deployer.settings.secrets import resolve_secrets


def repair_venvs(run: Run, project: Project, plan: Plan) -> None:
    """Carries out `plan.repairs`, hosts at once.

    Raises:
        NotReadyError: the virtualenv of the plan's release cannot be built again. That of a release to go back to is
            only warned about.
    """
    by_host: dict[str, list[VenvRepair]] = {}
    for repair in plan.repairs:
        by_host.setdefault(repair.host, []).append(repair)
    if not by_host:
        return
    settings = project.topology.settings.python
    hidden = resolve_secrets(settings.secrets, project.base)

    def repair_host(host: str) -> None:
        for repair in by_host[host]:
            with run.step("repair", host=host, detail=f"the virtualenv of {repair.release}: {repair.why}"):
                try:
                    request = RepairVenv(
                        site=run.site(host), release=repair.release, env=dict(settings.env), secrets=dict(hidden)
                    )
                    run.call(host, REPAIR, request, step="repair")
                except DeployError as error:
                    if repair.release == plan.release:
                        raise
                    run.warn(f"{repair.release} cannot be gone back to: {error.message}", host=host)

    again = f"mend it, then type deploy {plan.command} {plan.env} again; nothing was stopped"
    with translate_errors(NotReadyError, again):
        _, failed = map_hosts(list(by_host), repair_host)
        for error in failed.values():
            raise error
