"""testinfra checks of roles and the user's own, through the sessions that are open anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer import verify
from deployer.agent.model.messages.host import RUN, RunCommand
from deployer.balancers import Pool
from deployer.balancers.values import Listen
from deployer.errors import ChecksError
from deployer.events import CheckFinished
from deployer.plan.model import InstanceStep, Plan
from deployer.plan.topology import WebHost
from deployer.roles import roles_for
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run
from deployer.verify import CheckResult, CheckSet, CommandResult, Verification
from deployer.verify.files import Scope, find

COMMAND_TIMEOUT_S = 60.0
_AGAIN = "mend it on the host, then: deploy verify {env}"
_EARLIER = (
    "mend it, then: deploy push {env}. Checks in files test_instance*.py run in each wave, before it gets requests"
)


def instance_checks(run: Run, project: Project) -> Callable[[Sequence[InstanceStep], str], None]:
    """What a wave's proven instances have to pass before they are admitted."""

    def check(steps: Sequence[InstanceStep], release: str) -> None:
        hosts: dict[str, list[int]] = {}
        for step in steps:
            hosts.setdefault(step.host, []).append(step.port)
        sets = [
            check_set
            for web in run.topology.web
            if web.name in hosts
            for check_set in web_sets(project, web, "instance", release, hosts[web.name])
        ]
        with run.step("checks", instance=", ".join(step.name for step in steps)) as note:
            verification = judge(run, sets, hint="mend it, then: deploy push {env}")
            note.detail = f"{verification.passed} passed"

    return check


def fleet_checks(run: Run, project: Project, plan: Plan) -> None:
    """What the whole fleet, but for hosts that were left behind, has to pass at the end of a push."""
    with run.step("checks", detail="the fleet") as note:
        sets = all_sets(project, "fleet", plan.release, plan.ports)
        gone = run.lost | run.behind
        verification = judge(
            run, [check_set for check_set in sets if not gone.intersection(check_set.hosts)], hint=_EARLIER
        )
        note.detail = f"{verification.passed} passed on {len(run.topology.hosts)} hosts"


def judge(
    run: Run,
    sets: Sequence[CheckSet],
    junitxml: Path | None = None,
    hint: str = _AGAIN,
    note: Callable[[Verification], None] = lambda verification: None,
) -> Verification:
    """Runs the checks. ChecksError names the first that failed, and is raised too when none ran on some host.

    `hint`: what to do about a check that failed. `note` is given what came of the checks before anything is raised.
    """

    def runner(host: str, command: str) -> CommandResult:
        # As every backend of testinfra runs it: its status is that of its last command.
        argv = ["/bin/sh", "-c", command]
        answer = run.call(host, RUN, RunCommand(command=argv, timeout=COMMAND_TIMEOUT_S), step="checks")
        exit_status = -answer["signal"] if answer["signal"] else answer["exit"] or 0
        return CommandResult(exit_status, answer["stdout"], answer["stderr"])

    def report_check(result: CheckResult) -> None:
        run.bus.emit(CheckFinished(result.check, result.host, result.outcome, result.detail))

    verification = verify.run(sets, runner, report_check, junitxml, run.checker)
    note(verification)
    if verification.failures:
        first = verification.failures[0]
        raise ChecksError(
            f"{verification.failed} of {verification.failed + verification.passed} checks failed, "
            f"the first is {first.check}",
            host=first.host or None,
            step="checks",
            log=first.detail.splitlines()[-20:],
            hint=hint,
        )
    if verification.unchecked:
        raise ChecksError(
            f"no check ran on {', '.join(verification.unchecked)}, so nothing is verified there",
            host=verification.unchecked[0],
            step="checks",
            hint="the skipped checks say why in the output with --output json",
        )
    return verification


def all_sets(project: Project, scope: Scope | None, release: str, ports: Mapping[str, Sequence[int]]) -> list[CheckSet]:
    """The checks of every host of both parts. `scope` None: instance and fleet checks; `ports`: the slots in use."""
    web = project.topology.web
    sets = [
        check_set
        for web_host in web
        for check_set in web_sets(project, web_host, scope, release, ports.get(web_host.name, ()))
    ]
    topology = project.topology
    for balancer in topology.balancers:
        pool = topology.pool(balancer)
        variables = _variables(project, balancer.name, "balancers", release) | {
            "listen": pool.listen,
            "backend": pool.name,
            "domains": list(pool.domains),
            "https": _https(pool),
            "balancer": topology.balancer_adapter.driver(pool),
            "python": balancer.host.python,
        }
        files = _files(project, "balancers", balancer.host.groups, scope, supervisor=topology.settings.supervisor)
        if files:
            sets.append(CheckSet(files, [balancer.name], variables))
    return sets


def web_sets(project: Project, web: WebHost, scope: Scope | None, release: str, ports: Sequence[int]) -> list[CheckSet]:
    """The checks of one web host, against the slots at `ports`."""
    topology = project.topology
    supervisor = topology.supervisor(web)
    variables = _variables(project, web.name, "web", release) | {
        "user": web.own.user,
        "ports": list(ports),
        "instances": [topology.instance(web, web.index_of(port), port).to_wire() for port in ports],
        "processes": [topology.process(web, *process).to_wire() for process in topology.processes_of(web)],
        "schedules": [topology.schedule(web, name).to_wire() for name in topology.schedules_of(web)],
        "address": web.own.address,
        "supervisor": supervisor.name,
        "python": web.host.python,
    }
    files = _files(project, "web", web.host.groups, scope, supervisor=supervisor.name)
    return [CheckSet(files, [web.name], variables)] if files else []


def _https(pool: Pool) -> dict[str, Any] | None:
    """Where its own host reaches the pool with TLS, and plain; SHA-256 of the certificate, where the user gave one."""
    if pool.https is None:
        return None
    place, plain, given = Listen.parse(pool.https.listen), Listen.parse(pool.listen), pool.https.certificate
    return {
        "address": place.reached_at,
        "port": place.port,
        "plain": [plain.reached_at, plain.port],
        "sha256": given.sha256 if given else "",
    }


def _variables(project: Project, host: str, part: str, release: str) -> dict[str, Any]:
    site = project.topology.site(host)
    return {
        "app": site.app,
        "env": site.env,
        "release": release,
        "root": site.root,
        "prefix": site.prefix,
        "part": part,
        "user": "",
        "ports": [],
        "address": "",
        "instances": [],
        "processes": [],
        "schedules": [],
        "supervisor": "",
        "balancer": None,
        "https": None,
    }


def _files(
    project: Project, part: str, groups: frozenset[str], scope: Scope | None, *, supervisor: str
) -> tuple[Path, ...]:
    """Check files of the host's roles, then the user's own (`checks:`), which run on web hosts."""
    roles = roles_for(
        part, groups, supervisor=supervisor, balancer=project.topology.kind, search=(project.base / "roles",)
    )
    files = [file for role in roles if role.checks.is_dir() for file in find(role.checks, scope)]
    if part == "web":
        for name in project.topology.settings.checks:
            path = project.base / name
            if not path.exists():
                raise ChecksError(f"there is no {path}", step="checks", hint="look at checks: in deploy.yaml")
            files += find(path, scope) if path.is_dir() else [path]
    return tuple(files)
