"""`deploy doctor`: everything that would stop a push, found in one pass and not one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from deployer.errors import DeployError, NotReadyError, UnreachableError
from deployer.events import Bus, Output
from deployer.plan import ownership
from deployer.plan.facts import Facts
from deployer.plan.shared import is_folder_name
from deployer.rollout import certificates
from deployer.rollout.interpreter import require_python
from deployer.rollout.locks import require_not_frozen, require_unlocked
from deployer.rollout.open import opened
from deployer.rollout.pools import Pools
from deployer.rollout.project import Project, with_certificate
from deployer.rollout.record import Record
from deployer.rollout.resources import asks_leniently, differences, for_setup
from deployer.rollout.run import Run
from deployer.rollout.survey import (
    require_free_ports,
    require_host_set_up,
    require_set_up,
    require_starters,
    require_valid_balancers,
    survey,
    with_pools_that_answer,
)
from deployer.settings.models import Tls

LEAST_FREE_BYTES = 500_000_000
_LIST_MISSING = 'cd "$1" && shift && for name; do [ -e "$name" ] || printf "%s\\n" "$name"; done'
SHOWN = 6
"""Differences from what setup makes that the message names."""


def doctor(project: Project, bus: Bus, record: Record) -> None:
    """Emits a line a finding. Raises the first problem as the error of the run, after all of them were shown."""
    problems: list[DeployError] = []
    _look(project.env, problems, bus, "the server has what it needs", project.inferred.require_server)
    _look(project.env, problems, bus, "every secret has a value", project.secrets)
    project = _with_certificate(problems, bus, project)
    try:
        with opened(project, bus, record, threading.Event(), partial=True) as run:
            known = f"{len(run.hosts)} of {len(run.topology.hosts)}" if run.lost else f"{len(run.hosts)}"
            bus.emit(Output(f"{'!' if run.lost else '✓'} {known} hosts answer, with their known keys"))
            run.topology = run.answering
            if run.hosts:
                _look_at_hosts(problems, bus, project.reached_by(run.topology), run)
    except UnreachableError as error:
        problems.append(error)
        bus.emit(Output(f"✗ {error}" + (f" — next: {error.hint}" if error.hint else "")))
    if problems:
        raise problems[0]
    bus.emit(Output("nothing here would stop a push"))


def _look_at_hosts(problems: list[DeployError], bus: Bus, project: Project, run: Run) -> None:
    """All that can be asked of the hosts that answer."""
    facts = with_pools_that_answer(run, survey(run))
    for host, line in certificates.tell(run):
        bus.emit(Output(f"✓ {line}", host=host))
    for remark in ownership.remarks(run.topology, facts):
        run.warn(remark)
    for what, look in _questions(project, run, facts):
        _look(project.env, problems, bus, what, look)


def _with_certificate(problems: list[DeployError], bus: Bus, project: Project) -> Project:
    tls, found = project.topology.settings.tls, [project]
    if isinstance(tls, Tls) and tls.certificate is not None:
        _look(project.env, problems, bus, "the certificate can serve", lambda: found.append(with_certificate(project)))
    return found[-1]


def _questions(project: Project, run: Run, facts: Facts) -> list[tuple[str, Callable[[], object]]]:
    return [
        ("every host is set up", lambda: require_set_up(run, facts)),
        ("nothing of setup is missing or changed by hand", lambda: _nothing_missing(project, run, facts)),
        ("the app's Python is there", lambda: require_python(run.topology, facts)),
        ("the ports are free or ours", lambda: require_free_ports(run, facts)),
        ("what starts the schedules is there", lambda: require_starters(run, facts)),
        ("there is room on the disks", lambda: _room(run, facts)),
        ("every virtualenv in use is whole", lambda: _virtualenvs(run, facts)),
        ("the shared files are there", lambda: _shared_files(run, facts)),
        ("nobody froze it", lambda: require_not_frozen(run, facts)),
        ("nobody holds the lock", lambda: require_unlocked(run, facts)),
        ("the balancers answer", lambda: _of_balancers(run, facts, lambda run: Pools(run).states())),
        ("the balancers take their configuration", lambda: _of_balancers(run, facts, require_valid_balancers)),
    ]


def _of_balancers(run: Run, facts: Facts, look: Callable[[Run], object]) -> None:
    """Asks only where there is something to ask: a balancer that was never set up has no pool and no file of ours."""
    for balancer in run.topology.balancers:
        require_host_set_up(run, facts, balancer.name)
    look(run)


def _nothing_missing(project: Project, run: Run, facts: Facts) -> None:
    missing = differences(run, for_setup(project, facts, lenient=asks_leniently(run, facts)))
    if missing:
        shown = ", ".join(f"{each.kind} {each.name} on {each.host}" for each in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise NotReadyError(
            f"{len(missing)} things are not as setup makes them: {shown}{more}",
            host=missing[0].host,
            hint=f"deploy setup {project.env}",
            code="not_set_up",
        )


def _virtualenvs(run: Run, facts: Facts) -> None:
    for web in run.topology.web:
        host = facts[web.name]
        used = {host.current, *(each.release for each in host.serving.values())}
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
        done = run.call(web.name, "command.run", {"command": argv, "timeout": 30.0}, step="survey")
        missing = str(done.get("stdout") or "").splitlines()
        if missing:
            raise NotReadyError(
                f"{', '.join(missing)} of shared: in deploy.yaml is missing in {web.site.shared}",
                host=web.name,
                hint=f"copy it to {web.site.shared}/{missing[0]} on {web.name}, or commit it: a push puts it there",
                code="shared_missing",
            )


def _room(run: Run, facts: Facts) -> None:
    for web in run.topology.web:
        free = int(facts[web.name].raw.get("free_bytes") or 0)
        if free < LEAST_FREE_BYTES:
            raise NotReadyError(
                f"only {free / 1e6:.0f} MB are free below {web.site.root}",
                host=web.name,
                hint=f"deploy prune {run.topology.env}, or make room there",
                code="no_space",
            )


def _look(env: str, problems: list[DeployError], bus: Bus, what: str, look: Callable[[], object]) -> None:
    try:
        look()
    except DeployError as error:
        problems.append(error)
        error.name_environment(env)
        bus.emit(Output(f"✗ {what}: {error}" + (f" — next: {error.hint}" if error.hint else "")))
    else:
        bus.emit(Output(f"✓ {what}"))
