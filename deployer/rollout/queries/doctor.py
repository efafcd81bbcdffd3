"""`deploy doctor`: everything that would stop a push, found in one pass and not one by one."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from deployer.agent.model.messages.host import RUN, RunCommand
from deployer.errors import DeployError, NotReadyError, UnreachableError
from deployer.events import Bus, Text
from deployer.plan.facts import Facts
from deployer.plan.shared_folders import owners
from deployer.plan.shared_folders.tree import is_folder_name
from deployer.rollout.data import Data
from deployer.rollout.delivery.interpreter import require_python
from deployer.rollout.pools import certificates
from deployer.rollout.pools.balancer_configuration import require_valid_balancers
from deployer.rollout.pools.certificates import CertificateStatus
from deployer.rollout.pools.foreign_pools import require_current_pools
from deployer.rollout.pools.new_addresses import require_new_addresses
from deployer.rollout.pools.pools import Pools
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import require_not_frozen, require_unlocked
from deployer.rollout.run.outcomes import translate_errors
from deployer.rollout.run.project import Project, with_certificate
from deployer.rollout.run.run import Run
from deployer.rollout.steps.resources import asks_leniently, differences, for_setup
from deployer.rollout.steps.survey import (
    require_free_ports,
    require_host_set_up,
    require_set_up,
    require_starters,
    survey,
    with_configured_pools,
)
from deployer.settings.models import Tls

LEAST_FREE_BYTES = 500_000_000
_LIST_MISSING = 'cd "$1" && shift && for name; do [ -e "$name" ] || printf "%s\\n" "$name"; done'
SHOWN = 6
"""Differences from what setup makes that the message names."""


class Finding(Data):
    """One thing that doctor looked at."""

    check: str
    """What was looked at: a stable word, such as ports or secrets."""
    ok: bool
    """It would not stop a push."""
    host: str | None
    """The host that it is about, if it is about one."""
    step: str | None
    """The step of a push that would fail."""
    code: str | None
    """The code of the error; null when it is ok."""
    message: str
    """What is wrong; empty when it is ok."""
    cause: str | None
    """Why, where the message does not say it."""
    hint: str | None
    """What to type or change next."""


class Diagnosis(Data):
    """What `deploy doctor` answers."""

    answering: list[str]
    """The hosts that answer, with their known keys."""
    unreachable: list[str]
    """The hosts that do not answer. Nothing could be looked at there."""
    findings: list[Finding]
    """All that was looked at, in order."""
    certificates: list[CertificateStatus]
    """The certificates that the balancers present."""


class Examination:
    """Looks at one thing after the other, and shows each at once. `problems` are the errors that a push would raise."""

    def __init__(self, env: str, bus: Bus) -> None:
        self._env = env
        self._bus = bus
        self._findings: list[Finding] = []
        self._certificates: list[CertificateStatus] = []
        self.problems: list[DeployError] = []
        self.answering: list[str] = []
        self.unreachable: list[str] = []

    @property
    def answer(self) -> Diagnosis:
        """All that was found so far."""
        return Diagnosis(
            answering=self.answering,
            unreachable=self.unreachable,
            findings=self._findings,
            certificates=self._certificates,
        )

    def look(self, check: str, what: str, look: Callable[[], object]) -> None:
        """Carries out one look; what it raises is a finding. `what` says in words what is well."""
        try:
            look()
        except DeployError as error:
            self.fail(check, error, what)
        else:
            self._note(check, None)
            self._bus.emit(Text(f"✓ {what}"))

    def fail(self, check: str, error: DeployError, what: str = "") -> None:
        """Notes a problem."""
        error.name_environment(self._env, "push")
        self.problems.append(error)
        self._note(check, error)
        text = f"{what}: {error}" if what else str(error)
        self._bus.emit(Text(f"✗ {text}" + (f" — next: {error.hint}" if error.hint else "")))

    def see_hosts(self, run: Run) -> None:
        """Notes who answers."""
        self.answering, self.unreachable = run.hosts, sorted(run.lost)
        known = f"{len(run.hosts)} of {len(run.topology.hosts)}" if run.lost else f"{len(run.hosts)}"
        self._bus.emit(Text(f"{'!' if run.lost else '✓'} {known} hosts answer with their pinned keys"))

    def see_certificates(self, run: Run) -> None:
        """Notes what the balancers present."""
        for certificate in certificates.presented_certificates(run):
            self._certificates.append(certificate)
            self._bus.emit(Text(f"✓ {certificate.text}", host=certificate.host))

    def _note(self, check: str, error: DeployError | None) -> None:
        self._findings.append(
            Finding(
                check=check,
                ok=error is None,
                host=error.host if error else None,
                step=error.step if error else None,
                code=error.code if error else None,
                message=error.message if error else "",
                cause=error.cause if error else None,
                hint=error.hint if error else None,
            )
        )


def doctor(project: Project, invocation: Invocation) -> None:
    """Shows a line per finding. Raises the first problem as the error of the run, after all of them were shown.

    Hosts that do not answer are a problem too, and do not keep it from looking at the others.
    """
    examination = Examination(project.env, invocation.bus)
    examination.look("server", "the server has what it needs", project.inferred.require_server)
    examination.look("secrets", "every secret has a value", project.secrets)
    project = _with_certificate(examination, project)
    try:
        with open_run(project, invocation.unstoppable(), partial=True) as run:
            examination.see_hosts(run)
            run.topology = run.answering
            if run.hosts:
                _look_at_hosts(examination, project.reached_by(run.topology), run)
    except UnreachableError as error:
        examination.fail("hosts", error)
    invocation.record.data = examination.answer
    if examination.problems:
        with translate_errors(NotReadyError, f"deploy status {project.env}"):  # nothing was changed
            raise examination.problems[0]
    invocation.bus.emit(Text("nothing would stop a push"))


def _look_at_hosts(examination: Examination, project: Project, run: Run) -> None:
    """All that can be asked of the hosts that answer."""
    facts = with_configured_pools(run, survey(run))
    examination.see_certificates(run)
    for remark in owners.remarks(run.topology, facts):
        run.warn(remark)
    for check, what, look in _questions(project, run, facts):
        examination.look(check, what, look)


def _with_certificate(examination: Examination, project: Project) -> Project:
    tls, projects = project.topology.settings.tls, [project]
    if isinstance(tls, Tls) and tls.certificate is not None:
        look = lambda: projects.append(with_certificate(project))  # noqa: E731
        examination.look("certificate", "the certificate can serve", look)
    return projects[-1]


def _questions(project: Project, run: Run, facts: Facts) -> list[tuple[str, str, Callable[[], object]]]:
    return [
        ("set_up", "every host is set up", lambda: require_set_up(run, facts)),
        ("as_set_up", "everything that setup makes is unchanged", lambda: _nothing_missing(project, run, facts)),
        ("python", "the app's Python is there", lambda: require_python(run.topology, facts)),
        ("ports", "the ports are free or ours", lambda: require_free_ports(run, facts)),
        ("schedules", "the scheduler of the host is ready", lambda: require_starters(run, facts)),
        ("disk", "there is room on the disks", lambda: _room(run, facts)),
        ("writable", "the paths that a push writes are writable", lambda: _writable(run, facts)),
        ("virtualenvs", "every virtualenv in use is whole", lambda: _virtualenvs(run, facts)),
        ("shared_files", "the shared files are there", lambda: _shared_files(run, facts)),
        ("frozen", "pushes are not frozen", lambda: require_not_frozen(run, facts)),
        ("locked", "the lock is free", lambda: require_unlocked(run, facts)),
        ("balancers", "the balancers answer", lambda: _of_balancers(run, facts, lambda run: Pools(run).states())),
        (
            "balancer_configuration",
            "the balancers accept their configuration",
            lambda: _of_balancers(run, facts, require_valid_balancers),
        ),
        (
            "addresses",
            "the balancers reach the instances at the inventory's addresses",
            lambda: _of_balancers(run, facts, lambda run: _addresses(run, facts)),
        ),
    ]


def _of_balancers(run: Run, facts: Facts, look: Callable[[Run], object]) -> None:
    """Asks only where there is something to ask: a balancer that was never set up has no pool and no file of ours."""
    for balancer in run.topology.balancers:
        require_host_set_up(run, facts, balancer.name)
    look(run)


def _addresses(run: Run, facts: Facts) -> None:
    require_new_addresses(run, facts)
    require_current_pools(run, facts)


def _nothing_missing(project: Project, run: Run, facts: Facts) -> None:
    missing = differences(run, for_setup(project, facts, lenient=asks_leniently(run, facts)))
    masked = [change for change in missing if change.action == "unmask"]
    if masked:
        names = " ".join(change.name for change in masked if change.host == masked[0].host)
        raise NotReadyError(
            f"{names} is masked, so systemd does not start it",
            host=masked[0].host,
            hint=f"deploy exec {project.env} -l {masked[0].host} -- systemctl unmask {names}",
            code="masked",
        )
    if missing:
        shown = ", ".join(f"{change.kind} {change.name} on {change.host}" for change in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise NotReadyError(
            f"{len(missing)} items differ from what setup makes: {shown}{more}",
            host=missing[0].host,
            hint=f"deploy setup {project.env}",
            code="not_set_up",
        )


def _virtualenvs(run: Run, facts: Facts) -> None:
    for web in run.topology.web:
        host = facts[web.name]
        used = {host.current, *(instance.release for instance in host.serving.values())}
        for release in host.releases:
            if release.id in used and release.damage:
                raise NotReadyError(
                    f"the virtualenv of {release.id} is damaged, and the next push rebuilds it: {release.damage}",
                    host=web.name,
                    hint=f"deploy push {run.topology.env}",
                    code="venv_damaged",
                )


def _shared_files(run: Run, facts: Facts) -> None:
    """Files of `shared:`, by their names, on hosts that have a release which links to them."""
    names = [name for name in run.topology.settings.shared if not is_folder_name(name)]
    for web in run.topology.web if names else ():
        if not facts[web.name].current:
            continue
        argv = ["sh", "-c", _LIST_MISSING, "sh", web.site.shared, *names]
        done = run.call(web.name, RUN, RunCommand(command=argv, timeout=30.0), step="survey")
        missing = done["stdout"].splitlines()
        if missing:
            raise NotReadyError(
                f"{', '.join(missing)} of shared: in deploy.yaml is missing in {web.site.shared}",
                host=web.name,
                hint=f"copy it to {web.site.shared}/{missing[0]} on {web.name}, or commit it: a push puts it there",
                code="shared_missing",
            )


def _room(run: Run, facts: Facts) -> None:
    for web in run.topology.web:
        free = facts[web.name].free_bytes
        if free < LEAST_FREE_BYTES:
            raise NotReadyError(
                f"only {free / 1e6:.0f} MB are free below {web.site.root}",
                host=web.name,
                hint=f"deploy prune {run.topology.env}, or make room there",
                code="no_space",
            )


def _writable(run: Run, facts: Facts) -> None:
    """NotReadyError for what a push could not write: the first in the message, the others in the cause."""
    refusals = [
        (host.name, refusal["path"], refusal["why"])
        for host in run.topology.hosts
        for refusal in facts[host.name].unwritable
    ]
    if not refusals:
        return
    (name, path, why), *others = refusals
    look = f"deploy exec {run.topology.env} -l {name} --"
    raise NotReadyError(
        f"{path} cannot be written: {why}",
        host=name,
        cause="; ".join(f"nor {path} on {host}: {why}" for host, path, why in others) or None,
        hint=f"{look} findmnt -T {shlex.quote(path)} shows how it is mounted, "
        f"{look} lsattr -d {shlex.quote(path)} its attributes",
        code="not_writable",
    )
