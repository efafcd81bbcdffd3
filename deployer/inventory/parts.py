"""Which hosts serve the app and which balance it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployer.errors import InventoryError
from deployer.inventory.model import Host, Inventory
from deployer.inventory.patterns import select
from deployer.settings.models import Process, Schedule, Settings


@dataclass(frozen=True)
class Parts:
    """`web` are the hosts with instances, `balancers` those of the balancer (empty: none, or one beside the app).

    `others` have no instances, only processes or schedules. `processes` and `schedules` have the hosts of each of those
    by name, a singleton's only one. All are in the order of the inventory; a host may be in several.
    """

    web: tuple[Host, ...]
    balancers: tuple[Host, ...]
    others: tuple[Host, ...] = ()
    processes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def parts(inventory: Inventory, settings: Settings) -> Parts:
    """Return the parts of an environment by `hosts` and `balancer.hosts`.

    Without `hosts`, the group `web` serves, else every host that is in no other part (balancers, processes, schedules).
    Raises: InventoryError when nothing is left to serve or a pattern that was written matches nothing.
    """
    balancers = _balancers(inventory, settings)
    web = _web(inventory, settings, balancers)
    processes = _of_jobs(inventory, "processes", settings.processes, web)
    schedules = _of_jobs(inventory, "schedules", settings.schedules, web)
    with_jobs = {host for jobs in (processes, schedules) for hosts in jobs.values() for host in hosts}
    serving = {host.name for host in web}
    others = tuple(host for host in inventory.hosts if host.name in with_jobs - serving)
    return Parts(web, balancers, others, processes, schedules)


def _of_jobs(
    inventory: Inventory, section: str, jobs: Mapping[str, Process] | Mapping[str, Schedule], web: tuple[Host, ...]
) -> dict[str, tuple[str, ...]]:
    """Return the hosts of each job: those of its pattern, else those with instances; of a singleton the first."""
    hosts_by_job = {}
    for name, job in jobs.items():
        hosts = web if job.hosts is None else _selected(inventory, job.hosts, f"{section}.{name}.hosts")
        hosts_by_job[name] = tuple(host.name for host in (hosts[:1] if job.singleton else hosts))
    return hosts_by_job


def _balancers(inventory: Inventory, settings: Settings) -> tuple[Host, ...]:
    if settings.balancer.kind == "none":
        return ()
    pattern = settings.balancer.hosts
    if "hosts" not in settings.balancer.model_fields_set and not inventory.groups.get(pattern):
        _require_no_misspelt(inventory, pattern)
        return ()
    return _selected(inventory, pattern, "balancer.hosts")


def _require_no_misspelt(inventory: Inventory, group: str) -> None:
    """Raise InventoryError where a group is called nearly so: the push would go round balancers that serve."""
    near = difflib.get_close_matches(group, inventory.groups, n=1, cutoff=0.75)
    if near and near[0] != group:
        raise InventoryError(
            f"the inventory has a group {near[0]}, but no group {group}",
            file=inventory.source,
            hint=f"call it {group}, or write balancer: {{hosts: {near[0]}}} in deploy.yaml, or {{kind: none}}",
        )


def _web(inventory: Inventory, settings: Settings, balancers: tuple[Host, ...]) -> tuple[Host, ...]:
    if settings.hosts is not None:
        return _selected(inventory, settings.hosts, "hosts")
    if "web" in inventory.groups:
        return _selected(inventory, "web", "hosts")
    taken = {host.name for host in balancers} | _of_processes(inventory, settings)
    left = tuple(host for host in inventory.hosts if host.name not in taken)
    if not left:
        raise InventoryError(
            f"no host of {inventory.env} is left to serve the app: all are balancers or run processes",
            file=inventory.source,
            hint="put the hosts that serve into a group web, or write hosts: PATTERN in deploy.yaml",
        )
    return left


def _of_processes(inventory: Inventory, settings: Settings) -> set[str]:
    host_names: set[str] = set()
    for section, jobs in (("processes", settings.processes), ("schedules", settings.schedules)):
        for name, job in jobs.items():
            if job.hosts is not None:
                host_names |= {host.name for host in _selected(inventory, job.hosts, f"{section}.{name}.hosts")}
    return host_names


def _selected(inventory: Inventory, pattern: str, key: str) -> tuple[Host, ...]:
    try:
        return select(inventory, pattern)
    except InventoryError as problem:
        raise InventoryError(
            f"{key} in deploy.yaml: {problem.message}", file=problem.file, cause=problem.cause, hint=problem.hint
        ) from None
