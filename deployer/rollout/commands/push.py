"""`deploy push`: build, ship, roll out, restore on failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from deployer.agent.model.manifest import Manifest
from deployer.artifact import manifest, source
from deployer.artifact.build_hook import run_build_hook
from deployer.artifact.source import SourceTree
from deployer.errors import DeployError, RolloutError, UsageError
from deployer.events import Bus, Output, PlanMade
from deployer.plan import start
from deployer.plan.changes import make_plan, wanted_by_push
from deployer.plan.draft import DesiredRelease, ReleaseCandidate, content_of
from deployer.plan.facts import Facts
from deployer.plan.model import Inferred, Plan, PlanNotes
from deployer.plan.rendering import render_plan
from deployer.plan.rolling import slots
from deployer.plan.rolling.adopting import FRONT, UNIT, held_back, still_to_do
from deployer.plan.rolling.reloading import other_dependencies
from deployer.plan.shared_folders import sqlite
from deployer.plan.shared_folders import tree as shared
from deployer.plan.size import size_of
from deployer.plan.start import LaunchSpec
from deployer.plan.topology import Topology, WebHost
from deployer.rollout.commands.rollback import roll_to_existing
from deployer.rollout.delivery import plan_file, ship
from deployer.rollout.delivery.hooks import controller_env, release_hook, run_local_hook
from deployer.rollout.delivery.interpreter import require_python
from deployer.rollout.delivery.inventory_remarks import inventory_remarks
from deployer.rollout.delivery.kept_versions import age_of_versions
from deployer.rollout.delivery.plan_file import PlanFile
from deployer.rollout.delivery.promotion import Proven, proven_in
from deployer.rollout.delivery.source_notes import source_notes
from deployer.rollout.pools import certificates
from deployer.rollout.pools.balancer_configuration import require_valid_balancers
from deployer.rollout.pools.foreign_pools import require_current_pools
from deployer.rollout.pools.new_addresses import require_new_addresses
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling import unreachable_hosts
from deployer.rollout.rolling.final_state import judged_end
from deployer.rollout.rolling.pool_transition import PoolTransition
from deployer.rollout.rolling.rolling import roll
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import lock_site, require_not_frozen, require_unlocked
from deployer.rollout.run.long_step import long_step
from deployer.rollout.run.outcomes import translate_errors
from deployer.rollout.run.project import Project, read_source, with_certificate, with_hook_host
from deployer.rollout.run.record import outcome_of
from deployer.rollout.run.recording import note_release, recorded
from deployer.rollout.run.run import Run
from deployer.rollout.steps import resources, secrets, takeover
from deployer.rollout.steps.checks import fleet_checks
from deployer.rollout.steps.current_release import note_kept, promote, prune
from deployer.rollout.steps.repair import repair_venvs
from deployer.rollout.steps.survey import (
    look_first,
    require_free_ports,
    require_set_up,
    require_starters,
    survey,
    with_pools,
)
from deployer.rollout.traffic.domains import require_domains
from deployer.rollout.traffic.probe_url import require_answer
from deployer.settings.models import Hook
from deployer.settings.workers import Size


@dataclass(frozen=True)
class Prepared:
    """A push before it changes anything: the tree, its files, and the plan with all it was made from.

    `lenient`: for the hosts that it leaves out, the balancers go on asking so.
    """

    project: Project
    tree: SourceTree
    files: Manifest
    draft: ReleaseCandidate
    ways: Mapping[str, LaunchSpec]
    facts: Facts
    plan: Plan
    proven: Proven | None = None
    lenient: bool = False
    upgrade: bool = False

    @property
    def holds(self) -> dict[str, str]:
        """Digests of all that the plan was made from."""
        return plan_file.holding(self.project.topology, self.facts, self.draft)


@recorded
def push(
    project: Project,
    invocation: Invocation,
    *,
    ref: str | None = None,
    release: str | None = None,
    resume: bool = False,
    origin: Project | None = None,
    proven: Proven | None = None,
    planned: PlanFile | None = None,
    skip_hooks: Sequence[str] = (),
    upgrade: bool = False,
) -> None:
    """Brings every instance to the release of `ref`, wave by wave.

    Args:
        ref: git ref; HEAD by default.
        release: one that is built already, or `current`, in place of a ref: no build, no release hook.
        resume: the release of the last run that did not finish, or only half way, as the hosts have noted.
        origin: another environment, whose proven release is pushed: its files and exact versions, with the settings and
            secrets of this one.
        proven: a release that is known to be proven, in place of `origin`.
        planned: a plan that was written to a file: exactly that is carried out. Its commit is the `ref`.
        skip_hooks: names of hooks to leave out.
        upgrade: resolves unlocked dependencies anew, which makes a new release, also of the same code.

    Raises NotReadyError, LockedError, FrozenError before anything is changed; RolloutError when it failed and was
    restored; NeedsPersonError when something could not be restored.
    """
    values = project.secrets()
    project = with_certificate(project)
    if sum((ref is not None, release is not None, resume, origin is not None)) > 1:
        raise UsageError(
            "--ref, --release, --from and --resume exclude each other",
            hint="each selects a release: keep only one",
        )
    if upgrade and (release is not None or resume or origin is not None or planned is not None):
        raise UsageError(
            "--upgrade resolves dependencies for a release that is built now",
            hint="leave out --release, --resume, --from or --plan",
        )
    if release is not None or resume:
        roll_to_existing(project, invocation, command="push", release=release, resume=resume, values=values)
        return
    if planned and (planned.app, planned.env) != (project.topology.settings.app, project.env):
        raise UsageError(f"that is a plan for {planned.app} in {planned.env}", file=planned.path)
    proven = proven or proven_by(project, origin, invocation.bus)
    ref = proven.commit if proven else ref
    with (
        _failed_hook(project, invocation, skip_hooks),
        source_tree(project, invocation.bus, ref) as tree,
        open_run(to_ship(project, tree, skip_hooks), invocation, rolls=True) as run,
    ):
        known = look_first(run)
        require_not_frozen(run, known)
        if not invocation.wait and build_hook(project, skip_hooks):
            require_unlocked(run, known)
        project = built_here(run, project, tree, skip_hooks)
        with lock_site(run, wait=invocation.wait):
            recovered = Pools(run).recover()
            if recovered:
                run.warn(f"an earlier run had left drained, and is back: {', '.join(recovered)}")
            takeover.resume(run, known)
            ready = prepare_push(
                run, project, tree, values, skip_hooks, proven, planned.release if planned else None, upgrade
            )
            require_not_frozen(run, ready.facts)
            if planned:
                planned.require_still(ready.holds, ready.plan)
            require_answer(run, ready.plan)
            _announce(run, ready.plan)
            if ready.plan.empty:
                invocation.record.outcome = "unchanged"
                note_kept(run, ready.plan)
                unreachable_hosts.require_nobody(run)
                return
            note_release(run)
            with judged_end(run, ready.facts), resources.put_back_on_failure(run):
                _carry_out(run, ready, values, skip_hooks)
    run_local_hook(project, "succeeded", invocation.record.outcome, invocation, skip_hooks)


@contextmanager
def _failed_hook(project: Project, invocation: Invocation, skip_hooks: Sequence[str]) -> Iterator[None]:
    """`hooks.failed`, where a push that had a plan does not come to a good end."""
    try:
        yield
    except DeployError as error:
        if invocation.record.release is not None:
            run_local_hook(project, "failed", outcome_of(error), invocation, skip_hooks)
        raise


@contextmanager
def source_tree(project: Project, bus: Bus, ref: str | None) -> Iterator[SourceTree]:
    """The checkout that is shipped, as the build hook finds it. Says what is not part of it."""
    settings = project.topology.settings
    with ExitStack() as stack:
        with long_step(bus, "source"):
            checkout = source.resolve(settings.source, project.base, ref, private=settings.hooks.build is not None)
            tree = stack.enter_context(checkout)
        for note in source_notes(project, tree):
            bus.emit(Output(note, step="source"))
        yield tree


def build_hook(project: Project, skip_hooks: Sequence[str]) -> Hook | None:
    """The build hook, unless it is skipped."""
    return None if "build" in skip_hooks else project.topology.settings.hooks.build


def to_ship(project: Project, tree: SourceTree, skip_hooks: Sequence[str]) -> Project:
    """The project whose hosts are to be opened. Without a build hook the code in the tree is read already.

    UsageError for code that cannot be served, before any host is reached.
    """
    with_helper = project if "release" in skip_hooks else with_hook_host(project)
    return with_helper if build_hook(project, skip_hooks) else _as_code_says(with_helper, tree)


def built_here(run: Run, project: Project, tree: SourceTree, skip_hooks: Sequence[str]) -> Project:
    """The project as the code in the tree says, once the build hook has run there, for the hosts of the run."""
    project = project.reached_by(run.topology)
    hook = build_hook(project, skip_hooks)
    if hook is not None:
        env = controller_env(project, tree.commit)
        with run.step("build hook", detail=hook.command.partition("\n")[0]):
            run_build_hook(tree, hook, env, lambda line: run.bus.emit(Output(line, step="build hook")), run.stop)
            run.check_interrupt()
    project = _as_code_says(project, tree)
    run.topology = project.topology
    return project


def _as_code_says(project: Project, tree: SourceTree) -> Project:
    shipped = read_source(project, tree.path)
    shipped.inferred.require_server()
    return shipped


def proven_by(project: Project, origin: Project | None, bus: Bus) -> Proven | None:
    """What the other environment has proven; UsageError for another app, or this environment itself."""
    if origin is None:
        return None
    app = project.topology.settings.app
    if origin.env == project.env or origin.topology.settings.app != app:
        raise UsageError(f"--from names another environment of {app}, not {origin.env}")
    return proven_in(origin, bus)


def prepare_push(
    run: Run,
    project: Project,
    tree: SourceTree,
    values: Mapping[str, str],
    skip_hooks: Sequence[str],
    proven: Proven | None = None,
    planned: str | None = None,
    upgrade: bool = False,
) -> Prepared:
    """Everything that the push is going to do, from the source and the facts. Changes nothing.

    UsageError when the tree is not what was `proven`. `planned` is the id for a release that is to be built.
    """
    topology = run.topology
    facts = survey(run)
    require_set_up(run, facts)
    require_python(topology, facts)
    require_free_ports(run, facts)
    require_starters(run, facts)
    require_valid_balancers(run)
    facts = with_pools(run, facts)
    require_new_addresses(run, facts)
    require_current_pools(run, facts)
    with long_step(run.bus, "source"):
        files = tree.manifest()
    with project.loaded.placing():
        manifest.require_room_for_shared(topology.settings.shared, files)
    shipped = manifest.digest(files)
    if proven:
        proven.require_same(shipped)
    with project.loaded.placing():
        ways = {
            web.name: start.way(
                topology, web, project.inferred, _size(topology, web, facts), seen_by(topology, facts, web)
            )
            for web in topology.builders
        }
    starts = {web.name: start.start(topology, web, ways[web.name]) for web in topology.builders}
    content = content_of(shipped, topology.settings, topology.health_request)
    elsewhere = proven is not None and proven.env != project.env
    draft = ReleaseCandidate(
        content, starts, tree.commit, tree.ref, shipped, proven.origin if proven and elsewhere else None
    )
    release, builds = wanted_by_push(draft, topology, facts, planned, anew=upgrade)
    lenient = topology.leaves_some_out and resources.asks_leniently(run, facts)
    pools = slots.left_out(topology, facts)
    changes = resources.differences(run, resources.for_push(topology, lenient=lenient, pools=pools))
    secrets_changed = secrets.differing(run, values)
    desired = DesiredRelease(
        "push",
        release,
        builds,
        restart=bool(secrets_changed),
        why=_why(builds, secrets_changed),
        starts={host: launch_files.sha for host, launch_files in starts.items()},
    )
    hooks = topology.settings.hooks
    shown = {
        name: hook.command
        for name in ("build", "prepare", "release", "succeeded")
        if (hook := getattr(hooks, name)) is not None and name not in skip_hooks
    }

    def planned_as(desired: DesiredRelease) -> Plan:
        as_proven = f", as {proven.env} has proven it ({proven.release})" if elsewhere and proven else ""
        return make_plan(
            desired,
            topology,
            facts,
            changes=[*changes, *still_to_do(topology, facts)],
            secrets_changed=secrets_changed,
            notes=PlanNotes(
                hooks=shown,
                inferred=[*_inferred(project, ways), *([] if upgrade else age_of_versions(run, facts))],
                warnings=(
                    *project.inferred.warnings,
                    *certificates.remarks(topology),
                    *shared.remarks(topology.settings.shared, files.files),
                    *sqlite.remarks(topology, project.inferred.sqlite, values),
                    *inventory_remarks(topology),
                    *held_back(topology, facts),
                ),
                source=_source(tree) + as_proven,
            ),
        )

    plan = planned_as(desired)
    if builds and any(step.action == "reload" for step in plan.steps):
        requirements = proven.requirements if proven else ()
        plan = planned_as(
            replace(desired, venvs=ship.virtualenvs(run, project, tree, facts, builds, requirements, anew=upgrade))
        )
    return Prepared(project, tree, files, draft, ways, facts, plan, proven, lenient, upgrade)


def _carry_out(run: Run, ready: Prepared, values: Mapping[str, str], skip_hooks: Sequence[str]) -> None:
    project, plan = ready.project, ready.plan
    taken_over, led = any(change.kind in (FRONT, UNIT) for change in plan.changes), list[bool]()
    with (
        translate_errors(RolloutError, "mend it, then type deploy {command} {env}; no instance was touched"),
        secrets.put_back_on_failure(run),
    ):
        repair_venvs(run, project, plan)
        if plan.builds:
            shipment = ship.prepare(
                run,
                project,
                plan.release,
                ready.tree,
                ready.files,
                ready.ways,
                ready.draft,
                ready.facts,
                plan.builds,
                ready.proven.requirements if ready.proven else (),
                anew=ready.upgrade,
            )
            keys = {host: versions.key for host, versions in shipment.locked.items()}
            _require_same_dependencies(run, ready, keys)
            secrets.write(run, values)
            ship.build(run, project, shipment, plan.builds)
        elif plan.secrets_changed:
            secrets.write(run, values)
        run.check_interrupt()
        if plan.steps and "release" not in skip_hooks:
            release_hook(run, project, plan.release)
        serves = bool(plan.previous or ready.facts.in_use())
        applies = serves and _changes_pools(run, plan)
        between = PoolTransition(run, plan, ready.facts, applies=applies, lenient=ready.lenient)
        between.open()

    def finish(done: Plan) -> None:
        between.close(done)
        promote(run, done.release, done.ports, via="push")
        fleet_checks(run, project, done)
        require_domains(run)
        # The last act that can fail: nothing takes ours away again once users are led to them.
        if taken_over and takeover.lead(run, ready.facts):
            led.append(True)

    roll(run, project, plan, ready.facts, via="push", finish=finish, reopen=between.reopen)
    if led:
        takeover.retire(run, ready.facts)
    note_kept(run, plan)
    prune(run, [plan.release, *([plan.previous] if plan.previous else [])])


def _require_same_dependencies(run: Run, ready: Prepared, keys: Mapping[str, str]) -> None:
    """SettingsError where a reload that was asked for cannot be after all; one that was only the best way is told."""
    difference = other_dependencies(ready.plan, ready.facts, keys)
    if difference and run.topology.settings.rolling.strategy == "reload":
        raise difference.refused(ready.plan.command)
    if difference:
        run.warn(f"instances restart: {difference.why}", host=difference.host or "")


def _changes_pools(run: Run, plan: Plan) -> bool:
    return any(change.host in run.balancers and change.kind != FRONT for change in plan.changes)


def _announce(run: Run, plan: Plan) -> None:
    run.record.release, run.record.previous = plan.release, plan.previous
    run.bus.emit(PlanMade(plan.as_dict(), render_plan(plan)))


def _size(topology: Topology, web: WebHost, facts: Facts) -> Size:
    return size_of(facts[web.name].machine, topology.settings.unit, topology.supervisor(web).name)


def seen_by(topology: Topology, facts: Facts, web: WebHost) -> list[str]:
    """The balancers' addresses that an app's host sees, in the balancers' order."""
    sources = [facts[balancer.name].sources.get(web.own.address) for balancer in topology.balancers]
    return [source for source in sources if source]


def _inferred(project: Project, ways: Mapping[str, LaunchSpec]) -> list[Inferred]:
    pairs = [(web, ways[web.name]) for web in project.topology.web]
    return start.choices(project.topology, project.inferred, pairs)


def _why(builds: Sequence[str], secrets_changed: Sequence[str]) -> str:
    reasons = []
    if builds:
        reasons.append("the code or its start command is new")
    if secrets_changed:
        reasons.append("secrets changed")
    return " and ".join(reasons)


def _source(tree: SourceTree) -> str:
    if tree.commit is None:
        return f"the folder {tree.path.name}"
    return f"git {tree.ref or 'HEAD'} at {tree.commit[:12]}"
