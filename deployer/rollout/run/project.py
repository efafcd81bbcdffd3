"""What the user wrote, read and checked: settings, inventory, who takes part. Connects to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deployer import balancers
from deployer.agent.model.endpoints import LONGEST, socket_of
from deployer.agent.model.layout import Site
from deployer.errors import SettingsError, UsageError
from deployer.inventory import effective, patterns
from deployer.inventory.load import load as load_inventory
from deployer.inventory.model import Host, Inventory
from deployer.inventory.parts import parts
from deployer.plan.topology import BalancerHost, Topology, WebHost
from deployer.remote.plugin_driver import driver_sources
from deployer.rollout.run.balancer_addresses import require_addresses
from deployer.runtimes.environment import check_env
from deployer.settings.inference.infer import Inferred, infer
from deployer.settings.load import Loaded
from deployer.settings.load import load as load_settings
from deployer.settings.models import Rolling
from deployer.settings.reference import meaning
from deployer.settings.secrets import resolve_secrets
from deployer.settings.tls import read_certificate, require_possible

MOST_OF_A_PAGE = 12_000
"""Bytes of a page of maintenance: HAProxy's buffer has 16 KiB, headers and all."""


@dataclass(frozen=True)
class Project:
    """One app in one environment as the user described it. `inferred` is read from the working tree's code."""

    loaded: Loaded
    inventory: Inventory
    topology: Topology
    inferred: Inferred
    who: str
    user: str | None = None
    sudo_password: str | None = None

    @property
    def env(self) -> str:
        return self.topology.env

    @property
    def base(self) -> Path:
        """The folder of deploy.yaml."""
        return self.loaded.base

    def reached_by(self, topology: Topology) -> Project:
        """The same project as a run that does without some hosts has it."""
        return replace(self, topology=topology)

    def secrets(self) -> dict[str, str]:
        """The values of the app's secrets; SettingsError names one that has none."""
        with self.loaded.placing():
            return resolve_secrets(self.topology.settings.app_secrets, self.base)


def load(
    env: str | None,
    *,
    config: Path | None = None,
    inventory: Path | None = None,
    limit: str | None = None,
    user: str | None = None,
    sudo_password: str | None = None,
    who: str = "",
    start: Path | None = None,
    rolling: Mapping[str, Any] | None = None,
) -> Project:
    """Reads settings and inventory of `env`. `limit` leaves out web hosts, never balancers.

    `rolling` are keys of that section as the command line has them, laid over the settings' own.

    Raises SettingsError, InventoryError or UsageError, with file and line where there is one.
    """
    loaded = _laid_over(load_settings(config, env, start), rolling or {})
    settings = loaded.settings
    loaded_inventory = load_inventory(loaded.env, loaded.base, inventory)
    if user is not None:
        hosts = tuple(replace(host, ssh=replace(host.ssh, user=user)) for host in loaded_inventory.hosts)
        loaded_inventory = replace(loaded_inventory, hosts=hosts)
    members = parts(loaded_inventory, settings)
    selected = {host.name for host in patterns.select(loaded_inventory, limit)} if limit is not None else None
    web_hosts = [_web_host(loaded, host, index) for index, host in enumerate(members.web)]
    web_hosts += [_without_instances(loaded, host, len(web_hosts) + index) for index, host in enumerate(members.others)]
    web = tuple(web_host for web_host in web_hosts if selected is None or web_host.name in selected)
    if not web:
        raise SettingsError(f"--limit {limit} leaves no host with instances", hint="deploy hosts {env} lists them")
    guessed = _inferred(loaded, loaded.folder)
    kind = _kind(loaded, members.balancers)
    _require_tls(loaded, kind)
    topology = Topology(
        env=loaded.env,
        settings=settings,
        web=web,
        spared=tuple(web_host for web_host in web_hosts if web_host not in web),
        balancers=tuple(BalancerHost(host, _site(loaded, host, "")) for host in members.balancers),
        kind=kind,
        health_path=settings.health.path or guessed.health_path or "/",
        health_status=_health_status(loaded, guessed),
        templates=(loaded.base / "templates",),
        python_version=guessed.python_version,
        python_range=guessed.python_range,
        served_by=guessed.server,
        maintenance_page=_maintenance_page(loaded),
        process_hosts=members.processes,
        schedule_hosts=members.schedules,
    )
    _require_movable(loaded, topology)
    require_addresses(loaded, topology)
    _require_reachable_sockets(loaded, topology)
    check_env(dict.fromkeys(settings.secrets, ""), where="secrets")
    return Project(loaded, loaded_inventory, topology, guessed, who, user, sudo_password)


def _laid_over(loaded: Loaded, rolling: Mapping[str, Any]) -> Loaded:
    """The settings with keys of `rolling` from the command line; UsageError for a value that is none."""
    if not rolling:
        return loaded
    try:
        made = Rolling.model_validate({**loaded.settings.rolling.model_dump(exclude_unset=True), **rolling})
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = ("probe", "rate") if first["loc"][:2] == ("probe", "rate") else first["loc"][:1]
        option = "--" + str(key[-1]).replace("_", "-")
        described = meaning(Rolling, key)
        hint = f"{option} takes {described[0]}" if described else None
        raise UsageError(f"{option}: {first['msg'].removeprefix('Value error, ')}", hint=hint) from None
    return replace(loaded, settings=loaded.settings.model_copy(update={"rolling": made}))


def read_source(project: Project, folder: Path) -> Project:
    """The same project with what the code in `folder` tells: the tree that is shipped may not be the working tree."""
    guessed = _inferred(project.loaded, folder)
    topology = replace(
        project.topology,
        health_path=project.topology.settings.health.path or guessed.health_path or "/",
        health_status=_health_status(project.loaded, guessed),
        python_version=guessed.python_version,
        python_range=guessed.python_range,
        served_by=guessed.server,
    )
    return replace(project, topology=topology, inferred=guessed)


def with_hook_host(project: Project) -> Project:
    """The same project with the host of the release hook in it, which is the inventory's first whatever the limit."""
    first = project.topology.everywhere[0]
    if project.topology.settings.hooks.release is None or first in project.topology.web:
        return project
    return replace(project, topology=replace(project.topology, helper=first))


def with_certificate(project: Project) -> Project:
    """The same project with the user's own certificate and its key, checked, where there is one: what balancers get.

    SettingsError, with file and line, for one that could not serve.
    """
    return replace(project, topology=replace(project.topology, certificate=read_certificate(project.loaded)))


def _inferred(loaded: Loaded, folder: Path) -> Inferred:
    """What the code in `folder` tells. A mistake in `runtime` is shown with its line."""
    with loaded.placing():
        inferred = infer(folder, loaded.settings)
    if inferred.refused:
        loaded.place(inferred.refused)
    return inferred


def _web_host(loaded: Loaded, host: Host, place: int) -> WebHost:
    own = effective.for_host(loaded.settings, host)
    return WebHost(host, own, Site(loaded.settings.app, loaded.env, own.root, host.prefix, own.user), place)


def _without_instances(loaded: Loaded, host: Host, place: int) -> WebHost:
    """A host that has the app's processes alone."""
    made = _web_host(loaded, host, place)
    return replace(made, own=replace(made.own, instances=0))


def _site(loaded: Loaded, host: Host, user: str) -> Site:
    """The app's site on a balancer host: only `.deploy` of it is used there."""
    root = effective.for_host(loaded.settings, host).root
    return Site(loaded.settings.app, loaded.env, root, host.prefix, user)


def _kind(loaded: Loaded, hosts: tuple[Host, ...]) -> str:
    """The balancer's kind: as set, else HAProxy where there are balancer hosts, else none."""
    kind = loaded.settings.balancer.kind
    if not hosts:
        if kind not in (None, "none"):
            raise SettingsError(
                f"balancer.kind is {kind}, and no host of the inventory is in {loaded.settings.balancer.hosts!r}",
                file=str(loaded.path),
                line=loaded.mark("balancer", "kind").line,
                hint=f"add a group {loaded.settings.balancer.hosts!r} with the balancer host to the inventory",
            )
        return "none"
    if kind is None:
        return str(hosts[0].variables.get("deploy_balancer", "haproxy"))
    try:
        balancers.get(kind)
        driver_sources(kind)
    except SettingsError as error:
        error.file, error.line = str(loaded.path), loaded.mark("balancer", "kind").line
        raise
    return kind


def _require_tls(loaded: Loaded, kind: str) -> None:
    """SettingsError, with its line, where `tls` asks for what the balancer cannot do."""
    adapter = None if kind == "none" else balancers.get(kind)
    require_possible(
        loaded,
        kind,
        serves_tls=adapter is not None and adapter.serves_tls,
        obtains_certificates=adapter is not None and adapter.obtains_certificates,
    )


def _require_movable(loaded: Loaded, topology: Topology) -> None:
    """SettingsError, with its line, for a pool that the balancers' adapter cannot move."""
    try:
        _ = topology.drivers
    except SettingsError as error:
        error.file, error.line = str(loaded.path), loaded.mark("balancer", "manage").line
        raise


def _require_reachable_sockets(loaded: Loaded, topology: Topology) -> None:
    """SettingsError, with its line, where instances listen at UNIX sockets that the balancer cannot reach."""
    if loaded.settings.bind != "unix":
        return
    for web in topology.everywhere:
        path = socket_of(web.sockets, max((*web.ports, *web.spare_ports), default=0))
        if len(path.encode()) > LONGEST:
            raise _no_sockets(loaded, f"{path} has more than the {LONGEST} bytes that a socket's path may have")
    if not topology.balancers:
        return
    adapter, balancer_hosts = topology.balancer_adapter, {balancer.name for balancer in topology.balancers}
    apart = [web.name for web in topology.everywhere if web.own.instances and balancer_hosts != {web.name}]
    if adapter.why_no_sockets:
        raise _no_sockets(loaded, adapter.why_no_sockets, "take nginx or caddy (balancer.kind)")
    if apart:
        names = " and ".join(sorted(balancer_hosts))
        raise _no_sockets(loaded, f"a socket is reached on its own host alone, and {apart[0]} is not all of {names}")


def _no_sockets(loaded: Loaded, why: str, way: str = "") -> SettingsError:
    mark = loaded.mark("bind")
    way = f", or {way}" if way else ""
    return SettingsError(f"bind: unix: {why}", file=mark.file, line=mark.line, hint=f"leave bind out{way}")


def _maintenance_page(loaded: Loaded) -> str:
    """The user's own page; "" where there is none. SettingsError, with its line, for one that is no use."""
    name = loaded.settings.balancer.maintenance
    if name is None:
        return ""
    mark = loaded.mark("balancer", "maintenance")
    try:
        text = (loaded.base / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"{name} cannot be read: {why}", file=mark.file, line=mark.line) from None
    if len(text.encode()) > MOST_OF_A_PAGE:
        raise SettingsError(
            f"{name} has more than {MOST_OF_A_PAGE} bytes, which HAProxy keeps in one buffer",
            file=mark.file,
            line=mark.line,
            hint="leave pictures and scripts to another server",
        )
    return text


def _health_status(loaded: Loaded, guessed: Inferred) -> int | None:
    """As set; 200 for a health path; None, which accepts the usual statuses, where the path is only `/`."""
    check = loaded.settings.health
    if check.status is not None:
        return check.status
    return 200 if (check.path or guessed.health_path) else None
