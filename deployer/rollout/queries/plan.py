"""`deploy plan`: what a push would do, shown, and written to a file for a push that does exactly that."""

from __future__ import annotations

import time
from pathlib import Path

from deployer.errors import UsageError
from deployer.events import PlanMade, Text
from deployer.plan.model import Plan
from deployer.plan.rendering import render_plan
from deployer.rollout.commands.push import built_here, prepare_push, proven_by, source_tree, to_ship
from deployer.rollout.data import Data
from deployer.rollout.delivery.plan_file import Options, PlanFile
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project, with_certificate
from deployer.rollout.steps.current_release import note_kept


class PlanAnswer(Data):
    """What `deploy plan` answers."""

    changes: bool
    """A push would change something."""
    digest: str
    """A digest of what would be done; the same plan has the same."""
    plan: Plan
    """What a push would do."""


def show_plan(
    project: Project,
    invocation: Invocation,
    *,
    ref: str | None,
    origin: Project | None = None,
    diffs: bool,
    detailed_exitcode: bool,
    out: Path | None = None,
    options: Options,
) -> None:
    """Emits what `push` would do. Changes nothing; exit status 10 for changes if asked for.

    With `out` the plan is written there, for `push(planned=…)`; `options` are what was asked for. The build hook runs
    only then, and where the release of another environment (`origin`) is to be compared.
    """
    values = project.secrets()
    project = with_certificate(project)
    if ref is not None and origin is not None:
        raise UsageError("--ref and --from exclude each other", hint="each selects a release: leave one out")
    proven = proven_by(project, origin, invocation.bus)
    skipped = () if proven or out else ("build",)
    with (
        source_tree(project, invocation.bus, proven.commit if proven else ref) as tree,
        open_run(to_ship(project, tree, skipped), invocation.unstoppable(), rolls=True) as run,
    ):
        project = built_here(run, project, tree, skipped)
        ready = prepare_push(run, project, tree, values, (), proven)
        invocation.record.release, invocation.record.previous = ready.plan.release, ready.plan.previous
        invocation.record.outcome = "unchanged" if ready.plan.empty else "succeeded"
        invocation.record.data = PlanAnswer(changes=not ready.plan.empty, digest=ready.plan.digest, plan=ready.plan)
        invocation.bus.emit(PlanMade(ready.plan.as_dict(), render_plan(ready.plan, diffs=diffs)))
        note_kept(run, ready.plan)
        if out is not None:
            PlanFile(
                app=ready.plan.app,
                env=project.env,
                by=project.who,
                made=time.time(),
                commit=tree.commit,
                options=options,
                holds=ready.holds,
                plan=ready.plan.as_dict(),
            ).write(out)
            invocation.bus.emit(Text(f"written to {out}; deploy push {project.env} --plan {out} carries it out"))
        if detailed_exitcode and not ready.plan.empty:
            invocation.record.exit_status = 10
