"""`deploy verify`: every check of every role and the user's own, on all hosts."""

from __future__ import annotations

import threading
from pathlib import Path

from deployer.errors import NotReadyError
from deployer.events import Bus, Output
from deployer.plan.changes import majority
from deployer.plan.slots import used_ports
from deployer.rollout.checks import all_sets, judge
from deployer.rollout.open import opened
from deployer.rollout.project import Project
from deployer.rollout.record import Record
from deployer.rollout.survey import survey


def verify(project: Project, bus: Bus, record: Record, *, junitxml: Path | None, stop: threading.Event) -> None:
    """Runs instance and fleet checks against the current release. ChecksError (exit 7) when one fails or none ran."""
    with opened(project, bus, record, stop) as run:
        facts = survey(run)
        release = majority(facts, run.topology)
        if release is None:
            raise NotReadyError(
                f"nothing was ever pushed to {project.env}", step="survey", hint=f"deploy push {project.env}"
            )
        record.release = release
        with run.step("verify") as note:
            ports = {web.name: used_ports(web, facts) for web in run.topology.web}
            its_own = project.reached_by(run.topology.asking(facts.known(release)))
            found = judge(run, all_sets(its_own, None, release, ports), junitxml)
            note.detail = f"{found.passed} passed, {found.skipped} skipped"
        for host in run.topology.hosts:
            record.host(host.name, "verified")
        bus.emit(Output(f"{found.passed} checks passed on {len(run.topology.hosts)} hosts", step="verify"))
