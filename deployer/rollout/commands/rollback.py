"""`deploy rollback`, and `push --release`: to a release that the hosts have already. Nothing is built, no hook runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from deployer.agent.model.release_id import is_release_id
from deployer.artifact.git import Repository
from deployer.errors import DeployError, UsageError
from deployer.events import PlanMade
from deployer.plan.changes import make_plan, prevailing_release
from deployer.plan.draft import DesiredRelease
from deployer.plan.facts import Facts, ReleaseFacts
from deployer.plan.model import Plan
from deployer.plan.rendering import render_plan
from deployer.plan.rolling import adopting
from deployer.plan.topology import Topology
from deployer.rollout.commands.manual import freeze_hosts
from deployer.rollout.pools.foreign_pools import require_current_pools
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling import unreachable_hosts
from deployer.rollout.rolling.final_state import judged_end
from deployer.rollout.rolling.pool_transition import PoolTransition
from deployer.rollout.rolling.rolling import roll
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import lock_site, require_not_frozen
from deployer.rollout.run.project import Project, with_certificate
from deployer.rollout.run.recording import note_release, recorded
from deployer.rollout.run.run import Run
from deployer.rollout.run.unfinished import resumed_release
from deployer.rollout.steps import resources, secrets
from deployer.rollout.steps.checks import fleet_checks
from deployer.rollout.steps.current_release import note_kept, promote
from deployer.rollout.steps.repair import repair_venvs
from deployer.rollout.steps.survey import look_first, survey, with_pools
from deployer.rollout.traffic.domains import require_domains, warn_of_domains
from deployer.rollout.traffic.probe_url import answered_or_left_out, require_answer


@recorded
def rollback(
    project: Project,
    invocation: Invocation,
    *,
    release: str | None,
    freeze: str | None = None,
) -> None:
    """Brings every instance to `release` (id or commit), or to the newest proven one before the current.

    `freeze`, a reason, stops all pushes before anything changes, also when the rollback itself fails: what was wrong
    must not come back by the next pipeline.
    """
    values = project.secrets()
    roll_to_existing(project, invocation, command="rollback", release=release, freeze=freeze, values=values)


def roll_to_existing(
    project: Project,
    invocation: Invocation,
    *,
    command: str,
    release: str | None,
    values: Mapping[str, str],
    resume: bool = False,
    freeze: str | None = None,
) -> None:
    """Every instance to a release that is there: `current`, an id, a commit, or (None) the one before.

    With `resume` it is the release of the last run that did not finish, or only half way.

    `values` are today's secrets, written before anything changes. Raises what `Waves.carry_out` raises; UsageError when
    there is no such release, with those that there are.
    """
    with suppress(DeployError):  # only pools need it, which an earlier release may leave as they are
        project = with_certificate(project)
    with open_run(project, invocation, rolls=True) as run:
        project = project.reached_by(run.topology)
        look_first(run)
        with lock_site(run, wait=invocation.wait):
            Pools(run).recover()
            facts = with_pools(run, survey(run))
            require_current_pools(run, facts)
            current = prevailing_release(facts, run.topology)
            if resume:
                target = resumed_release(run, facts)
            else:
                target = choose_release(run.topology, facts, _commit_of(project, release), current)
            if release is None and not resume and (missed := passed_over(run.topology, facts, current or "", target)):
                run.warn(missed)
            secrets_changed = secrets.differing(run, values)
            desired = DesiredRelease(
                command, target, restart=bool(secrets_changed), why=_why(current, target, secrets_changed)
            )
            plan = make_plan(desired, run.topology, facts, secrets_changed=secrets_changed)
            if command == "push":
                require_not_frozen(run, facts)
            if freeze is not None:
                freeze_hosts(run, freeze)
            (answered_or_left_out if command == "rollback" else require_answer)(run, plan)
            invocation.record.release, invocation.record.previous = target, current
            invocation.bus.emit(PlanMade(plan.as_dict(), render_plan(plan)))
            note_kept(run, plan)
            if plan.empty and all(facts[web.name].current == target for web in run.topology.web):
                invocation.record.outcome = "unchanged"
                unreachable_hosts.require_nobody(run)
                return
            note_release(run)
            known = facts.known(target)
            health_check_digest = known.health_check_digest if known else ""
            project = project.reached_by(run.topology.asking(known))
            between = PoolTransition(
                run,
                plan,
                facts,
                applies=_asks_otherwise(run, facts, health_check_digest),
                target=health_check_digest,
                units=False,
            )

            def finish(done: Plan) -> None:
                between.close(done)
                promote(run, target, done.ports, via=command)
                if command == "push":
                    fleet_checks(run, project, done)
                    require_domains(run)
                else:
                    warn_of_domains(run)

            with judged_end(run, facts), resources.put_back_on_failure(run):
                repair_venvs(run, project, plan)
                with secrets.put_back_on_failure(run):
                    if secrets_changed:
                        secrets.write(run, values)
                    if between.applies:
                        between.open()
                roll(run, project, plan, facts, via=command, finish=finish, reopen=between.reopen)


def _asks_otherwise(run: Run, facts: Facts, target: str) -> bool:
    """Whether a release that serves, or is going to, answers another question for its health than today's settings ask.

    The balancers would never have it up, or not any more. A release that is not known to differ is as today's.
    """
    managed = bool(run.balancers) and run.topology.settings.balancer.manage
    return managed and bool({*facts.health_check_digests(), target} - {run.topology.health_check_digest, ""})


def choose_release(topology: Topology, facts: Facts, wanted: str | None, current: str | None) -> str:
    """The release to go to: as `wanted` says, else the newest proven one before all that serve now.

    After a push that died half way that is the release before that push. UsageError lists what there is when `wanted`
    names none or several commits, or nothing is older.
    """
    usable = candidates(topology, facts)
    listed = ", ".join(release.id for release in usable) or "none"
    if wanted is not None:
        return _named(wanted, current, usable, listed)
    served = {serving.release for web in topology.web for serving in facts[web.name].serving.values()}
    newest = max((release for release in (current, *served) if release and is_release_id(release)), default="")
    older = [release.id for release in usable if not release.withdrawn and release.id < newest]
    if not older:
        lacking = passed_over(topology, facts, newest, "")
        raise UsageError(
            f"no proven release exists before {newest}{' on every host' if lacking else ''}"
            if newest
            else "nothing was ever pushed",
            hint=_way_back(topology, facts)
            or lacking
            or f"deploy rollback {topology.env} RELEASE takes any of: {listed}",
        )
    return max(older)


def passed_over(topology: Topology, facts: Facts, before: str, after: str) -> str:
    """What to type where the last proven release between two is not on every host; empty where there is none.

    `before` and `after` are the ids of releases, the later one first.
    """
    last, hosts = "", list[str]()
    for web in topology.web:
        for release in facts[web.name].releases:
            if release.complete and release.proven and not release.withdrawn and after < release.id < before:
                last = max(last, release.id)
    for web in topology.web:
        host_release = facts[web.name].release(last) if last else None
        if last and (host_release is None or not host_release.complete):
            hosts.append(web.name)
    if not hosts:
        return ""
    without = "".join(f":!{host}" for host in hosts)
    further = f", or deploy rollback {topology.env} {after}, which all have" if after else ""
    return (
        f"{last} is not on {', '.join(hosts)}: deploy rollback {topology.env} {last} -l 'all{without}', "
        f"and deploy drain {topology.env} for what must not serve{further}"
    )


def _way_back(topology: Topology, facts: Facts) -> str:
    """What a person types to have back what another tool ran before the first push; empty where there was nothing."""
    way = adopting.way_back(topology, facts)
    return f"before it another tool ran the app; back to that, by hand: {way}" if way else ""


def _commit_of(project: Project, wanted: str | None) -> str | None:
    """The commit that a tag or branch here names, for a release is known by its commit; anything else as it is."""
    if not wanted or wanted == "current" or is_release_id(wanted):
        return wanted
    try:
        repository = Repository.at(project.base / project.topology.settings.source.path)
    except UsageError:  # without git the releases are still known by their ids and commits: enough to go back
        repository = None
    if repository is None:
        return wanted
    return repository.named(wanted) or wanted


def _named(reference: str, current: str | None, usable: list[ReleaseFacts], listed: str) -> str:
    """The release of that id, or the newest of the commit that begins so."""
    name = current if reference == "current" else reference
    if any(release.id == name for release in usable):
        return str(name)
    matches = [release for release in usable if name and release.commit and release.commit.startswith(name)]
    if not matches:
        raise UsageError(f"no release {reference!r} is on every host", hint=f"there are: {listed}")
    if len({release.commit for release in matches}) > 1:
        several = ", ".join(f"{release.id} of {release.commit}" for release in matches)
        raise UsageError(f"{reference!r} begins several commits", hint=f"write more of it, or an id: {several}")
    return max(release.id for release in matches)


def candidates(topology: Topology, facts: Facts) -> list[ReleaseFacts]:
    """Releases that are complete on every web host and proven on at least one, oldest first."""
    everywhere: dict[str, list[ReleaseFacts]] = {}
    for web in topology.web:
        for release in facts[web.name].releases:
            if release.complete:
                everywhere.setdefault(release.id, []).append(release)
    return [
        copies[0]
        for _, copies in sorted(everywhere.items())
        if len(copies) == len(topology.web) and any(release.proven for release in copies)
    ]


def _why(current: str | None, target: str, secrets_changed: list[str]) -> str:
    reasons = [f"{current} is left"] if current and current != target else []
    return " and ".join([*reasons, *(["secrets changed"] if secrets_changed else [])])
