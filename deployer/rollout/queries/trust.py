"""`deploy trust`: shows the hosts' key fingerprints and pins them, as an explicit act of a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from deployer.errors import DeployError, UntrustedHostError
from deployer.events import Output
from deployer.inventory.model import Host
from deployer.remote.ssh.dialer import Dialer
from deployer.remote.ssh.trust import HostKey, pin, scan
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.parallel import map_hosts
from deployer.rollout.run.project import Project


def trust(project: Project, invocation: Invocation, *, confirm: Callable[[str], None], replace: bool = False) -> None:
    """Asks every host for its keys and pins them in `inventories/known_hosts` after `confirm`.

    Hosts behind a gateway that is itself one of them are asked once its key is pinned. With `replace`, keys that are
    pinned there and changed since give way. Raises UnreachableError for hosts that do not answer, UntrustedHostError
    for a key that changed, UsageError when the answer is no.
    """
    hosts = {host.name: host for host in project.topology.hosts}
    path, added = known_hosts_path(project), 0
    while hosts:
        host_keys, failed = _scan(hosts, path)
        behind = {name for name, error in failed.items() if isinstance(error, UntrustedHostError)}
        if not host_keys or behind != set(failed):
            raise_first(failed)
        for name, keys in host_keys.items():
            for key in keys:
                invocation.bus.emit(Output(f"{key.type} {key.fingerprint}", host=name))
        invocation.bus.flush()
        confirm(f"Do these fingerprints match what the {len(host_keys)} hosts' own consoles show?")
        added += len(pin(_all(host_keys), path, replace))
        hosts = {name: hosts[name] for name in hosts if name in behind}
    invocation.record.outcome = "succeeded" if added else "unchanged"
    invocation.bus.emit(Output(f"{added} keys added to {path}" if added else f"{path} already has them all"))


def _scan(hosts: Mapping[str, Host], known_hosts: Path) -> tuple[dict[str, list[HostKey]], dict[str, DeployError]]:
    """The keys of each host, or why there are none. `known_hosts` has the keys of gateways pinned so far."""
    dialer = Dialer(known_hosts_files=(str(known_hosts),))
    try:
        return map_hosts(list(hosts), lambda name: scan(hosts[name], dialer))
    finally:
        dialer.close()


def known_hosts_path(project: Project) -> Path:
    """`inventories/known_hosts` beside deploy.yaml."""
    return project.base / "inventories" / "known_hosts"


def raise_first(failed: dict[str, DeployError]) -> None:
    """Raises the first of the failures, if there are any."""
    for error in failed.values():
        raise error


def _all(host_keys: dict[str, list[HostKey]]) -> list[HostKey]:
    return [key for keys in host_keys.values() for key in keys]
