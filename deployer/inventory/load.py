"""Reads an environment's inventory into hosts with merged variables."""

from __future__ import annotations

from pathlib import Path

from deployer.errors import InventoryError
from deployer.inventory.connection import host_from
from deployer.inventory.find import find
from deployer.inventory.formats.raw import ALL, RawInventory, Values
from deployer.inventory.formats.sources import read_source
from deployer.inventory.formats.vars_files import read_vars
from deployer.inventory.model import Inventory
from deployer.settings.load import shown


def load(env: str, base: Path, path: Path | None = None) -> Inventory:
    """Return the inventory of `env`.

    Args:
        base: the folder of deploy.yaml, from which `inventories/` is searched upward.
        path: the file to read instead (`-i`).

    Raises: InventoryError with file and line for whatever is wrong in it.
    """
    file = path.absolute() if path is not None else find(env, base)
    raw = read_source(file)
    if not raw.hosts:
        raise InventoryError(
            f"{shown(file)} has no hosts", file=shown(file), hint="add one: web: {hosts: {web1.example.com: {}}}"
        )
    folder = file if file.is_dir() else file.parent
    members = raw.members()
    merged = _merge(raw, members, folder)
    hosts = tuple(
        host_from(
            name, merged[name], frozenset(group for group, host_names in members.items() if name in host_names), folder
        )
        for name in raw.hosts
    )
    return Inventory(env, str(file), hosts, members)


def _merge(raw: RawInventory, members: dict[str, tuple[str, ...]], folder: Path) -> dict[str, Values]:
    """Return host → variables, in Ansible's order: groups in the inventory (all first), group_vars/all, other
    group_vars/, the host in the inventory, host_vars/."""
    files = {name: read_vars(folder, "group_vars", name) for name in members}
    merged: dict[str, Values] = {}
    for host, own in raw.hosts.items():
        groups = raw.by_precedence(name for name, hosts in members.items() if host in hosts)
        values: Values = {}
        for group in groups:
            values |= raw.groups[group].variables
        values |= files[ALL]
        for group in groups:
            values |= files[group] if group != ALL else {}
        merged[host] = values | own | read_vars(folder, "host_vars", host)
    return merged
