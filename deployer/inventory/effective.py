"""What the settings come to on one host, its own variables counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from deployer.errors import InventoryError, SettingsError
from deployer.inventory.model import Host
from deployer.inventory.names import host_and_port, usual_form
from deployer.inventory.variables import unreadable
from deployer.settings.models import HostOverrides, Settings
from deployer.settings.validation_errors import settings_error
from deployer.settings.yaml.document import Document

SPARE_DISTANCE = 500
"""Between an instance's first slot port and its spare one, unless spare_port is set."""


@dataclass(frozen=True)
class HostSettings:
    """The app on one host.

    `root` is absolute with the host's prefix. `user` runs the app; "" is the agent's own user. `ports` and
    `spare_ports` have one port per instance; `address` is where the balancer reaches them. `bind`: they listen at those
    ports, or each at a UNIX socket that has its slot's port for a name. `workers` is still the
    setting (a number, or auto, balanced, io, cpu).
    """

    host: str
    root: str
    user: str
    port: int
    spare_port: int
    instances: int
    workers: int | Literal["auto", "balanced", "io", "cpu"]
    address: str
    env: Mapping[str, str] = field(default_factory=dict)
    bind: Literal["port", "unix"] = "port"

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(range(self.port, self.port + self.instances))

    @property
    def spare_ports(self) -> tuple[int, ...]:
        return tuple(range(self.spare_port, self.spare_port + self.instances))


def for_host(settings: Settings, host: Host, *, local_balancer: bool = False) -> HostSettings:
    """`settings` on `host`, with its variable `deploy: {<app>: {…}}` laid over them.

    Args:
        local_balancer: the balancer runs on the same host, so that instances need no address of the outside.

    Raises: InventoryError naming host and key for a wrong override, SettingsError for slot ports that overlap.
    """
    own = _overrides(settings.app, host)
    port = own.port or settings.port
    host_settings = HostSettings(
        host=host.name,
        root=host.prefix + (own.root or settings.root or f"/srv/{settings.app}"),
        user=own.user or settings.user or _user(settings.app, host),
        port=port,
        spare_port=own.spare_port or settings.spare_port or port + SPARE_DISTANCE,
        instances=settings.instances if own.instances is None else own.instances,
        workers=own.workers or settings.runtime.workers,
        address=_address(settings.app, host, own.address or ("127.0.0.1" if local_balancer else host.ssh.hostname)),
        env={**settings.env, **own.env},
        bind=settings.bind,
    )
    _check_ports(host_settings)
    return host_settings


def _address(app: str, host: Host, written: str) -> str:
    """Return where balancers reach the host, an IP address in its usual form: they write it so, whoever wrote
    it how."""
    try:
        name, port = host_and_port(written)
    except ValueError as problem:
        raise _wrong(host, f"the variable deploy.{app}.address: {problem}", "write a name or an IP address") from None
    if port is not None:
        raise _wrong(host, f"the variable deploy.{app}.address: {written!r} has a port", f"deploy.{app}.port sets it")
    return usual_form(name)


def _user(app: str, host: Host) -> str:
    """Root gives the app a system user of its own; anybody else, and a lab of processes, runs it as themselves."""
    if host.prefix:
        return host.ssh.user or ""
    return app if host.become or host.ssh.user == "root" else host.ssh.user or ""


def _overrides(app: str, host: Host) -> HostOverrides:
    written = host.variables.get("deploy")
    if written is None:
        return HostOverrides()
    if not isinstance(written, dict):
        raise _wrong(host, "the variable deploy must be a map", f"deploy: {{{app}: {{port: 8000}}}}")
    misplaced = [key for key in written if key in HostOverrides.model_fields and key != app]
    if misplaced and not isinstance(written[misplaced[0]], dict):
        key = misplaced[0]
        raise _wrong(host, f"the variable deploy.{key} belongs below the app", f"deploy: {{{app}: {{{key}: …}}}}")
    return _checked(app, host, written.get(app) or {})


def _checked(app: str, host: Host, data: Any) -> HostOverrides:
    why = unreadable(data)
    if why:
        raise _wrong(host, f"something in the variable deploy.{app} {why}, and is needed here", "write its plain value")
    try:
        return HostOverrides.model_validate(data)
    except ValidationError as problem:
        error = settings_error(problem, HostOverrides, Document("", data, {}))
        hint = error.hint or "keys: " + ", ".join(HostOverrides.model_fields)
        raise _wrong(host, f"the variable deploy.{app}: {error.message}", hint) from None


def _wrong(host: Host, message: str, hint: str) -> InventoryError:
    return InventoryError(message, host=host.name, hint=hint)


def _check_ports(host_settings: HostSettings) -> None:
    last = max((*host_settings.ports, *host_settings.spare_ports), default=0)
    if last > 65535:
        raise SettingsError(
            f"the slot ports go up to {last}, past 65535", host=host_settings.host, hint="set a lower spare_port"
        )
    shared_ports = sorted(set(host_settings.ports) & set(host_settings.spare_ports))
    if shared_ports:
        raise SettingsError(
            f"port {shared_ports[0]} is both a first and a spare slot: port {host_settings.port} and "
            f"spare_port {host_settings.spare_port}, with {host_settings.instances} instances each",
            host=host_settings.host,
            hint=f"set spare_port to {host_settings.port + max(host_settings.instances, SPARE_DISTANCE)}",
        )
