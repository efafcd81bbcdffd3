"""A release comes to the hosts: what they lack in one stream, dependencies, the prepare hook, the check, the seal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.agent.model.manifest import Manifest
from deployer.agent.model.messages import releases as wire
from deployer.artifact import manifest
from deployer.artifact.dependencies import python, wheels
from deployer.artifact.source import SourceTree
from deployer.cache import cache
from deployer.errors import DeployError, RolloutError, SettingsError, UsageError
from deployer.plan import start
from deployer.plan.draft import ReleaseCandidate
from deployer.plan.facts import Facts
from deployer.plan.shared_folders import tree as shared
from deployer.plan.start import LaunchSpec
from deployer.remote.errors import AgentError
from deployer.remote.messages.responses import UnexpectedResponse
from deployer.rollout.delivery.dependencies import Versions
from deployer.rollout.delivery.kept_versions import kept_versions
from deployer.rollout.delivery.prune import make_room
from deployer.rollout.run.parallel import map_hosts
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run
from deployer.settings.secrets import resolve_secrets

CHECK_TIMEOUT_S = 60.0
REPEATABLE = ("corrupt", "not_begun")


@dataclass(frozen=True)
class Shipment:
    """Everything that the hosts need to build one release. Lives as long as its source tree."""

    release: str
    tree: SourceTree
    files: Manifest
    house: Path | None
    locked: Mapping[str, python.Locked]
    ways: Mapping[str, LaunchSpec]
    draft: ReleaseCandidate
    install_secrets: Mapping[str, str]
    created: int


def prepare(
    run: Run,
    project: Project,
    release: str,
    tree: SourceTree,
    files: Manifest,
    ways: Mapping[str, LaunchSpec],
    draft: ReleaseCandidate,
    facts: Facts,
    hosts: tuple[str, ...],
    proven: tuple[str, ...] = (),
    *,
    anew: bool = False,
) -> Shipment:
    """Settles the exact versions for the Python of every host, and collects wheels where hosts have no way out.

    `proven` are the exact requirements that the same code has elsewhere; `anew` resolves unlocked dependencies anew.
    """
    settings = project.topology.settings
    hidden = resolve_secrets(settings.python.secrets, project.base)
    with run.step("resolve") as note:
        wanted = python.read(tree.path, settings.python)
        kept = kept_versions(run, facts, anew=anew)
        locked = Versions(run, project, facts, hidden, proven, kept).settled(wanted, hosts)
        note.detail = ", ".join(sorted({versions.origin for versions in locked.values() if versions.origin}))
        wheelhouse = None
        if settings.python.build == "here":
            first = next(iter(locked.values()))
            wheelhouse = wheels.wheelhouse(first, cache(), settings.python.env, hidden, lambda line: None)
            files = manifest.with_wheels(files, wheelhouse)
    return Shipment(release, tree, files, wheelhouse, locked, ways, draft, hidden, int(time.time()))


def virtualenvs(
    run: Run,
    project: Project,
    tree: SourceTree,
    facts: Facts,
    hosts: tuple[str, ...],
    proven: tuple[str, ...] = (),
    *,
    anew: bool = False,
) -> dict[str, str]:
    """Host → the virtualenv (its key) that a release of this tree gets there, where that can be told from here.

    Changes nothing on a host. What cannot be read is left to the push, which says so.
    """
    settings = project.topology.settings.python
    try:
        hidden = resolve_secrets(settings.secrets, project.base)
        kept = kept_versions(run, facts, anew=anew)
        return Versions(run, project, facts, hidden, proven, kept).find_virtualenv_keys(
            python.read(tree.path, settings), hosts
        )
    except SettingsError:
        return {}


def build(run: Run, project: Project, shipment: Shipment, hosts: tuple[str, ...]) -> None:
    """Builds the release on all `hosts` at once. RolloutError of the first that failed; what serves is untouched."""
    _, failed = map_hosts(hosts, lambda host: _build_on(run, project, shipment, host))
    for host in hosts:
        if host in failed:
            raise _explained(failed[host])


def _build_on(run: Run, project: Project, shipment: Shipment, host: str) -> None:
    with run.step("build", host=host, detail=shipment.release) as note:
        repeated = pruned = False
        while True:
            try:
                note.detail = _begin_fill_build(run, project, shipment, host)
                return
            except AgentError as error:
                if error.code == "no_space" and not pruned:
                    pruned = True
                    if make_room(run, host, [shipment.release, *([before] if (before := run.record.previous) else [])]):
                        continue
                if error.code not in REPEATABLE or repeated:
                    raise
                repeated = True


def _begin_fill_build(run: Run, project: Project, shipment: Shipment, host: str) -> str:
    release, locked = shipment.release, shipment.locked[host]
    content = wire.ReleaseContent(site=run.site(host), release=release, venv=locked.key)
    begun = run.call(host, wire.BEGIN, content, body=shipment.files.as_bytes(), step="ship")
    if begun["complete"]:
        return "it was already there"
    if begun["missing"]:
        try:
            stream = manifest.pack(shipment.files, begun["missing"], shipment.tree.path, shipment.house)
        except UsageError as unknown:
            raise UnexpectedResponse(host, "release.begin", unknown.message) from unknown
        run.call(host, wire.FILL, content, body=stream, step="ship")
    built = run.call(host, wire.BUILD, _recipe(run, project, shipment, host), step="build")
    sent = f"{len(begun['missing'])} files sent ({begun['missing_bytes'] / 1000:.0f} kB)"
    return f"{sent}, virtualenv {'built' if built['venv_built'] else 'shared'}"


def _recipe(run: Run, project: Project, shipment: Shipment, host: str) -> wire.BuildRelease:
    """The request to build the release on one host."""
    topology = project.topology
    settings = topology.settings
    web = topology.web_host(host)
    way, locked = shipment.ways[host], shipment.locked[host]
    run_text, files = shipment.draft.starts[host].for_release(shipment.release)
    hook = settings.hooks.prepare
    check = way.runtime.check(way.serving)
    return {
        "site": run.site(host),
        "release": shipment.release,
        "run": run_text,
        "files": dict(files),
        "meta": {
            "content": shipment.draft.content,
            "files": shipment.draft.files,
            "requirements": list(locked.requirements),
            "resolution": locked.resolution,
            "origin": shipment.draft.origin,
            "start_sha": shipment.draft.starts[host].sha,
            "commit": shipment.draft.commit,
            "ref": shipment.draft.ref,
            "created": shipment.created,
            "health": topology.health().record(),
            "asked": topology.health_check_digest,
            "bind": web.own.bind,
            "processes": list(settings.processes),
        },
        "venv": locked.spec(
            requires=way.runtime.requires(way.serving), env=settings.python.env, secrets=shipment.install_secrets
        ),
        "env": start.environment(topology, web, project.inferred, shipment.release),
        "shared": list(settings.shared),
        "shared_folders": shared.folders(settings.shared, shipment.files.files),
        "prepare": {"command": hook.command, "timeout": hook.timeout} if hook else None,
        "static": {"url": settings.static.url, "dir": settings.static.dir} if settings.static else None,
        "check": {
            "argv": list(check),
            "target": way.serving.target.path if way.serving.target else "",
            # An app that may take long to start may take as long to be imported.
            "timeout": max(CHECK_TIMEOUT_S, settings.health.within),
        }
        if check
        else None,
    }


def _explained(error: DeployError) -> DeployError:
    """A build that failed is a rollout that failed before anything changed."""
    if not isinstance(error, AgentError) or error.code == "internal":
        return error
    if error.code == "no_space":
        error.hint = f"deploy exec {{env}} -l {error.host} -- df -h shows what is full; make room there, or lower keep:"
    return error.as_kind(
        RolloutError, hint="mend it, then type deploy {command} {env}; nothing that serves was touched"
    )
