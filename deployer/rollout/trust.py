"""`deploy trust`: shows the hosts' key fingerprints and pins them, as an explicit act of a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deployer.errors import DeployError
from deployer.events import Bus, Output
from deployer.remote.trust import HostKey, pin, scan
from deployer.rollout.parallel import map_hosts
from deployer.rollout.project import Project
from deployer.rollout.record import Record


def trust(project: Project, bus: Bus, record: Record, *, confirm: Callable[[str], None], replace: bool = False) -> None:
    """Asks every host for its keys and pins them in `inventories/known_hosts` after `confirm`.

    With `replace`, keys that are pinned there and changed since give way. Raises UnreachableError for hosts that do
    not answer, UntrustedHostError for a key that changed, UsageError when the answer is no.
    """
    hosts = {host.name: host for host in project.topology.hosts}
    found, failed = map_hosts(list(hosts), lambda name: scan(hosts[name]))
    for name, keys in found.items():
        for key in keys:
            bus.emit(Output(f"{key.type} {key.fingerprint}", host=name))
    raise_first(failed)
    bus.flush()
    confirm(f"Do these fingerprints match what the {len(hosts)} hosts' own consoles show?")
    path = known_hosts_path(project)
    added = pin(_all(found), path, replace)
    record.outcome = "succeeded" if added else "unchanged"
    bus.emit(Output(f"{len(added)} keys added to {path}" if added else f"{path} has them all already"))


def known_hosts_path(project: Project) -> Path:
    """`inventories/known_hosts` beside deploy.yaml."""
    return project.base / "inventories" / "known_hosts"


def raise_first(failed: dict[str, DeployError]) -> None:
    """Raises the first of the failures, if there are any."""
    for error in failed.values():
        raise error


def _all(found: dict[str, list[HostKey]]) -> list[HostKey]:
    return [key for keys in found.values() for key in keys]
