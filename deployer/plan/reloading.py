"""When a reload in place (SIGHUP) is allowed: only where it brings about what is wanted and cannot cost what serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deployer.errors import SettingsError
from deployer.plan.facts import Facts
from deployer.plan.model import Plan
from deployer.plan.topology import Topology, WebHost
from deployer.settings.workers import workers_for


def require_reloadable(
    topology: Topology,
    facts: Facts,
    release: str,
    *,
    command: str,
    starts: Mapping[str, str],
    secrets_changed: Sequence[str],
) -> None:
    """SettingsError that names rolling.strategy, with the reason and the fix, where a reload cannot be.

    Args:
        release: the one to go to, and `command` what goes there.
        starts: host → how that release starts there (`Start.sha`), of one that is still to be built.
        secrets_changed: hosts whose secrets are written in this run.
    """
    if secrets_changed:
        raise _refused(command, "secrets changed, and a master keeps those that it was started with")
    for web in topology.web:
        why = topology.runtime.refuse_reload(_workers(web, facts), same=command == "reload")
        if why:
            raise _refused(command, f"{topology.served_by} {why}", web.name)
        for before in _others(web, facts, release):
            old, new = facts[web.name].release(before), facts[web.name].release(release)
            start = starts.get(web.name) or (new.start_sha if new else "")
            if old is None or old.start_sha != start:
                raise _refused(
                    command,
                    "the command, settings or environment that it starts with are new, and a master keeps its own",
                    web.name,
                )
            if new is not None and new.complete:
                _require_same(command, web.name, old.venv, new.venv)


def require_same_dependencies(plan: Plan, facts: Facts, keys: Mapping[str, str]) -> None:
    """SettingsError when a release that is about to be built has other dependencies than what it is reloaded from.

    `keys` name the virtualenv that it gets on each host.
    """
    for step in plan.steps:
        old = facts[step.host].release(step.before or "")
        if step.action == "reload" and old is not None and step.host in keys:
            _require_same(plan.command, step.host, old.venv, keys[step.host])


def _require_same(command: str, host: str, old: str, new: str) -> None:
    if old != new:
        raise _refused(command, "its dependencies are others, and a master keeps those that it has loaded", host)


def _others(web: WebHost, facts: Facts, release: str) -> Iterator[str]:
    """What the instances of a host serve in place of the release."""
    for serving in facts[web.name].serving.values():
        if serving.release and serving.release != release:
            yield serving.release


def _workers(web: WebHost, facts: Facts) -> int:
    raw = facts[web.name].raw
    cores, memory = int(raw.get("cores") or 1), int(raw.get("memory") or 0)
    return workers_for(web.own.workers, cores, memory, max(1, web.own.instances))[0]


def _refused(command: str, why: str, host: str | None = None) -> SettingsError:
    return SettingsError(
        f"rolling.strategy: reload cannot carry this {command} out: {why}",
        host=host,
        step="plan",
        hint=f"write rolling.strategy: auto, or deploy {command} ENV --strategy restart",
    )
