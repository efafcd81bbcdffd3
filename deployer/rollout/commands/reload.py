"""`deploy reload`: the current release restarts wave by wave, with today's secrets and environment."""

from __future__ import annotations

from deployer.errors import NotReadyError
from deployer.events import PlanMade
from deployer.plan.changes import make_plan, prevailing_release
from deployer.plan.draft import DesiredRelease
from deployer.plan.model import Plan
from deployer.plan.rendering import render_plan
from deployer.rollout.pools.foreign_pools import require_current_pools
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling.final_state import judged_end
from deployer.rollout.rolling.rolling import roll
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import lock_site
from deployer.rollout.run.project import Project
from deployer.rollout.run.recording import note_release, recorded
from deployer.rollout.steps import secrets
from deployer.rollout.steps.current_release import note_kept, promote
from deployer.rollout.steps.repair import repair_venvs
from deployer.rollout.steps.survey import require_set_up, survey, with_pools
from deployer.rollout.traffic.domains import warn_of_domains
from deployer.rollout.traffic.probe_url import require_answer


@recorded
def reload(project: Project, invocation: Invocation, *, rolling: bool) -> None:
    """Restarts every instance on the release it has. `wait` seconds for the lock."""
    values = project.secrets()
    with open_run(project, invocation, rolls=True) as run, lock_site(run, wait=invocation.wait):
        project = project.reached_by(run.topology)
        Pools(run).recover()
        facts = with_pools(run, survey(run))
        require_set_up(run, facts)
        require_current_pools(run, facts)
        release = prevailing_release(facts, run.topology)
        if release is None:
            raise NotReadyError(
                f"nothing was ever pushed to {project.env}", step="survey", hint=f"deploy push {project.env}"
            )
        wanted = DesiredRelease("reload", release, restart=True, why="a reload was requested", all_at_once=not rolling)
        plan = make_plan(wanted, run.topology, facts, secrets_changed=secrets.differing(run, values))
        require_answer(run, plan)
        invocation.record.release = invocation.record.previous = release
        invocation.bus.emit(PlanMade(plan.as_dict(), render_plan(plan)))
        note_release(run)
        project = project.reached_by(run.topology.asking(facts.known(release)))

        def finish(done: Plan) -> None:
            promote(run, release, done.ports, via="reload")
            warn_of_domains(run)

        with judged_end(run, facts):
            repair_venvs(run, project, plan)
            with secrets.put_back_on_failure(run):
                secrets.write(run, values)
            roll(run, project, plan, facts, via="reload", finish=finish)
        note_kept(run, plan)
