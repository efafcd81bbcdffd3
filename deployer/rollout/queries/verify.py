"""`deploy verify`: every check of every role and the user's own, on all hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from deployer.errors import NotReadyError
from deployer.events import Text
from deployer.plan.changes import prevailing_release
from deployer.plan.rolling.slots import used_ports
from deployer.rollout.data import Data
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.steps.checks import all_sets, judge
from deployer.rollout.steps.survey import survey
from deployer.verify.model import Verification


class CheckEntry(Data):
    """One check on one host."""

    check: str
    """The file and the name of the check."""
    host: str | None
    """The host; null for a check that is about none."""
    outcome: Literal["passed", "failed", "skipped"]
    """What came of it."""
    detail: str
    """Why it failed or was skipped, in the words of testinfra; empty when it passed."""
    duration_s: float
    """How long it took, in seconds."""


class Verified(Data):
    """What `deploy verify` answers."""

    release: str | None
    """The release that was verified."""
    passed: int
    """How many checks passed."""
    failed: int
    """How many checks failed."""
    skipped: int
    """How many checks do not apply."""
    unchecked: list[str]
    """The hosts on which no check passed or failed."""
    checks: list[CheckEntry]
    """All checks."""


def verify(project: Project, invocation: Invocation, *, junitxml: Path | None) -> None:
    """Runs instance and fleet checks against the current release. ChecksError (exit 7) when one fails or none ran."""
    with open_run(project, invocation) as run:
        facts = survey(run)
        release = prevailing_release(facts, run.topology)
        if release is None:
            raise NotReadyError(
                f"nothing was ever pushed to {project.env}", step="survey", hint=f"deploy push {project.env}"
            )
        invocation.record.release = release
        with run.step("verify") as note:
            ports = {web.name: used_ports(web, facts) for web in run.topology.web}
            release_project = project.reached_by(run.topology.asking(facts.known(release)))

            def note_answer(verification: Verification) -> None:
                invocation.record.data = verification_data(release, verification)

            verification = judge(run, all_sets(release_project, None, release, ports), junitxml, note=note_answer)
            note.detail = f"{verification.passed} passed, {verification.skipped} skipped"
        for host in run.topology.hosts:
            invocation.record.host(host.name, "verified")
        invocation.bus.emit(Text(f"{verification.passed} checks passed on {len(run.topology.hosts)} hosts"))


def verification_data(release: str | None, verification: Verification) -> Verified:
    """The answer for a release and what its checks came to."""
    return Verified(
        release=release,
        passed=verification.passed,
        failed=verification.failed,
        skipped=verification.skipped,
        unchecked=list(verification.unchecked),
        checks=[
            CheckEntry(
                check=result.check,
                host=result.host or None,
                outcome=result.outcome,
                detail="" if result.outcome == "passed" else result.detail,
                duration_s=round(result.seconds, 3),
            )
            for result in verification.results
        ],
    )
