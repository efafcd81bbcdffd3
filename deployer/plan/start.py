"""How instances of an app start on one host: the runtime settled, its words, its files, its environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployer import runtimes
from deployer.agent.model.layout import COMMANDS, WITHIN
from deployer.plan.draft import PLACEHOLDER, LaunchFiles
from deployer.plan.model import Inferred as Chosen
from deployer.plan.topology import Topology, WebHost, bind_address, trusted
from deployer.runtimes import Serving, Target
from deployer.runtimes.base import Runtime
from deployer.runtimes.environment import release_environment
from deployer.runtimes.run import render_run, render_within
from deployer.settings.inference.infer import Inferred
from deployer.settings.workers import Size, workers_for


@dataclass(frozen=True)
class LaunchSpec:
    """The way one app is served on one host."""

    runtime: Runtime
    serving: Serving
    workers_sum: str


def way(topology: Topology, web: WebHost, inferred: Inferred, size: Size, seen: Sequence[str] = ()) -> LaunchSpec:
    """Settle runtime and workers for a host of that size.

    `seen` are the addresses from which the balancers come to it, as far as they are known.

    Raises SettingsError when the server cannot serve the app, with the fix.
    """
    settings = topology.settings
    runtime = runtimes.get(inferred.server)
    workers, why = workers_for(web.own.workers, size, max(1, web.own.instances))
    serving = Serving(
        app=settings.app,
        target=target_of(inferred),
        settings=settings.runtime,
        address=bind_address(web),
        workers=workers,
        release=PLACEHOLDER,
        # Whoever comes by a socket is of the same host and has no address.
        trusted=("*",) if web.sockets else trusted(topology.balancers, seen, by_ipv6=web.by_ipv6),
        env=web.own.env,
        pythonpath=inferred.pythonpath,
        search=topology.templates,
        worker_class=inferred.workers.name,
    )
    refused = runtime.refuse(serving)
    if refused:
        refused.host, refused.step = web.name, "plan"
        raise refused
    return LaunchSpec(runtime, serving, why)


def start(topology: Topology, web: WebHost, chosen: LaunchSpec) -> LaunchFiles:
    """Return the `run` script of a host and the files beside it, with the placeholder for the release's id."""
    run = render_run(
        chosen.serving,
        chosen.runtime,
        base_port=web.own.port,
        spare_port=web.own.spare_port,
        env=web.own.env,
        app=topology.settings.app,
        env_name=topology.env,
        release=PLACEHOLDER,
        secrets_file=web.site.secrets,
        slots=web.site.slots,
    )
    within = render_within(
        env=web.own.env,
        pythonpath=chosen.serving.pythonpath,
        search=topology.templates,
        app=topology.settings.app,
        env_name=topology.env,
        release=PLACEHOLDER,
        secrets_file=web.site.secrets,
    )
    settings = topology.settings
    jobs = {
        **{name: process.command for name, process in settings.processes.items()},
        **{name: schedule.command for name, schedule in settings.schedules.items()},
    }
    commands = {f"{COMMANDS}/{name}": f"#!/bin/sh\nexec {command}\n" for name, command in jobs.items()}
    return LaunchFiles(run, {**chosen.runtime.files(chosen.serving), WITHIN: within, **commands})


def environment(topology: Topology, web: WebHost, inferred: Inferred, release: str) -> dict[str, str]:
    """Return what hooks and checks of a release see on a host, without secrets."""
    return release_environment(
        app=topology.settings.app,
        env_name=topology.env,
        release=release,
        folder=web.site.release(release),
        env=web.own.env,
        pythonpath=inferred.pythonpath,
    )


def choices(topology: Topology, inferred: Inferred, ways: Sequence[tuple[WebHost, LaunchSpec]]) -> list[Chosen]:
    """Everything that the settings leave open, for the plan."""
    entries = [Chosen(reason.what, reason.value, reason.why) for reason in inferred.reasons]
    sums = {chosen.workers_sum for _, chosen in ways}
    if topology.settings.runtime.workers in ("auto", "balanced", "io", "cpu"):
        if len(sums) == 1:
            entries.append(Chosen("runtime.workers", str(ways[0][1].serving.workers), sums.pop()))
        else:
            entries += [
                Chosen(f"runtime.workers on {web.name}", str(chosen.serving.workers), chosen.workers_sum)
                for web, chosen in ways
            ]
    if topology.settings.balancer.kind is None:
        why = "the inventory has balancer hosts" if topology.balancers else "the inventory has no balancer hosts"
        entries.append(Chosen("balancer.kind", topology.kind, why))
    static = topology.settings.static
    if static is not None:
        why = f"of every kept release, served by {_file_server(topology)}"
        entries.append(Chosen(static.url, f"from {static.dir}", why))
    return entries


def _file_server(topology: Topology) -> str:
    """Who answers for static files."""
    if not topology.files_lie_at_balancers:
        return "the app itself: they lie on its hosts, and no balancer is there"
    if not topology.balancer_adapter.serves_files:
        return f"the app itself: {topology.kind} serves no files"
    return f"{topology.kind}, which is on the app's own host"


def target_of(inferred: Inferred) -> Target | None:
    """Return the app as a runtime takes it; None for a command of its own."""
    if inferred.target is None:
        return None
    return Target(inferred.target.path, inferred.target.interface, inferred.target.factory)
