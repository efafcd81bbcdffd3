"""What `deploy setup` makes of one host: its roles and the adapters they call upon, as resources and handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer import templating
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Directory, File, Package, Resource, Service, User
from deployer.agent.model.supervision import Argv
from deployer.balancers.base import Balancer, Pool
from deployer.inventory.model import Host
from deployer.roles.loader import roles_for
from deployer.roles.model import Role
from deployer.settings.models import Settings
from deployer.supervisors.base import Supervisor, UnitSpec

Handlers = dict[str, tuple[Argv, ...]]


@dataclass(frozen=True)
class Adapters:
    """The adapters of one host. `unit` and `supervisor` are of web hosts, `balancer` and `pools` of balancer hosts.

    `systemd`: the host's services run under systemd (false in a lab of plain processes).
    """

    supervisor: Supervisor | None = None
    unit: UnitSpec | None = None
    balancer: Balancer | None = None
    pools: tuple[Pool, ...] = ()
    systemd: bool = True


def setup_resources(
    part: str,
    settings: Settings,
    site: Site,
    facts: Mapping[str, object],
    host: Host,
    adapters: Adapters,
    *,
    project: Path | None = None,
) -> tuple[list[Resource], Handlers]:
    """Everything that a host of this part must have, in the order to apply it, and the handlers it may notify.

    Below a prefix (a lab of plain processes) packages, users and services are left out: they are the machine's own.

    Args:
        part: `web` or `balancers`.
        settings: the app's settings, defaults inferred.
        site: the app on this host.
        facts: what `host.survey` answered; templates see it as `facts`.
        host: the host of the inventory; its variables override a role's defaults of the same name.
        adapters: what supervises and what balances there.
        project: the folder of `deploy.yaml`, whose `roles/` and `templates/` come first.

    Raises:
        SettingsError: a role, a template, or a value in them is wrong.
    """
    search = (project / "roles",) if project else ()
    roles = roles_for(
        part,
        host.groups,
        supervisor=adapters.supervisor.name if adapters.supervisor else settings.supervisor,
        balancer=adapters.balancer.name if adapters.balancer else "",
        search=search,
    )
    resources: list[Resource] = []
    handlers: Handlers = {}
    for role in roles:
        own_resources, role_handlers = role_resources(role, _values(role, settings, site, facts, host), project=project)
        from_adapter, adapter_handlers = _of_adapter(role.text.adapter, site, adapters)
        resources += [*own_resources, *from_adapter]
        handlers |= {**adapter_handlers, **role_handlers}
    for name in {"supervisor", "balancer"} - {role.text.adapter for role in roles}:
        # The adapter of another package: no role is for it.
        from_adapter, adapter_handlers = _of_adapter(name, site, adapters)
        folders = [Directory(site.root), Directory(site.state, mode="0711")] if from_adapter else []
        resources += [*folders, *from_adapter]
        handlers |= adapter_handlers
    if site.prefix:
        resources = [item for item in resources if not isinstance(item, Package | User | Service)]
    return list(dict.fromkeys(resources)), handlers


def role_resources(
    role: Role, values: Mapping[str, Any], *, project: Path | None = None
) -> tuple[list[Resource], Handlers]:
    """What the role's own `role.yaml` lists, rendered with `values`, without any adapter."""
    text = role.text
    search = [role.templates, *([project / "templates"] if project else [])]

    def render_value(words: str) -> str:
        return templating.render_text(words, where=f"{role.folder / 'role.yaml'}", **values)

    resources: list[Resource] = [Package(name) for words in text.packages for name in render_value(words).split()]
    resources += [
        User(render_value(user.name), render_value(user.home)) for user in text.users if render_value(user.name)
    ]
    for folder in text.directories:
        owner, group = render_value(folder.owner), render_value(folder.group)
        paths = render_value(folder.path).splitlines()
        resources += [Directory(path.strip(), owner, group, folder.mode) for path in paths if path.strip()]
    for file in text.files:
        resources.append(
            File(
                path=render_value(file.path),
                content=templating.render(file.template, search=search, **values),
                owner=render_value(file.owner),
                group=render_value(file.group),
                mode=file.mode,
                notify=file.notify,
                sensitive=file.sensitive,
                initial=file.initial,
            )
        )
    resources += [Service(name) for words in text.services for name in render_value(words).split()]
    handlers = {
        name: tuple(tuple(render_value(word) for word in command) for command in commands)
        for name, commands in text.handlers.items()
    }
    return resources, handlers


def _values(role: Role, settings: Settings, site: Site, facts: Mapping[str, object], host: Host) -> dict[str, Any]:
    own = {name: host.variables.get(name, default) for name, default in role.text.defaults.items()}
    return {
        **own,
        "app": site.app,
        "env": site.env,
        "user": site.user,
        "root": site.root,
        "prefix": site.prefix,
        "site": site,
        "settings": settings,
        "facts": facts,
        "host": host.name,
        "groups": sorted(host.groups),
    }


def _of_adapter(adapter: str | None, site: Site, adapters: Adapters) -> tuple[list[Resource], Handlers]:
    if adapter == "supervisor" and adapters.supervisor and adapters.unit:
        supervisor = adapters.supervisor
        packages: Sequence[Resource] = [Package(name) for name in supervisor.packages()]
        return [*packages, *supervisor.resources(adapters.unit)], supervisor.handlers(site)
    if adapter == "balancer" and adapters.balancer:
        balancer = adapters.balancer
        pools = [resource for pool in adapters.pools for resource in balancer.resources(pool)]
        base = balancer.base(site, systemd=adapters.systemd)
        return [*base, *pools], balancer.handlers(site, systemd=adapters.systemd)
    return [], {}
