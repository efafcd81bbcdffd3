"""`host.survey`: all that planning needs to know of a host, in one pass, read-only, whoever asks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from deployer.agent.dependencies import repair, venv_integrity
from deployer.agent.model import release_id
from deployer.agent.model.layout import MARKER, Site
from deployer.agent.operation import Context, operation
from deployer.agent.site import freeze, ledger, links, lock, shared_owners, write_access
from deployer.agent.site import ownership as owner
from deployer.agent.system import host_facts, port_owners, process_runner, procfs
from deployer.agent.takeover import operations as adopting

_SHORT = 15.0  # seconds for a question to the supervisor
_TEXT, _MAP = (str, type(None)), (dict, type(None))
_OF_MARKER: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("content", "commit", "venv", "run_sha", "start_sha", "bind", "asked"), _TEXT),
    "created": (int, float, type(None)),
    "origin": _MAP,
    "health": _MAP,
    "resolution": _MAP,
    "processes": (list, type(None)),
}
"""The keys of a release's marker that are reported, and the types that each may have."""


@operation("host.survey")
def survey(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The facts listed in docs/operations.md; what is missing or may not be read is null, false or empty.

    Args:
        args: `site`; `ports` to look at, on `address` alone (or in the folder that it is) if given; `sockets` (port →
            argv that prints `active` where systemd holds that port for us); names of `tools` to find;
            `python_versions` (`["3.12"]`) to find; `peers`, addresses or names that this host connects to.
            With `brief` only `user, exists, writable, owner, frozen, lock, adoption` are looked up.
    """
    site = Site.from_args(args)
    if args.get("brief"):
        return {"user": procfs.user_name(os.geteuid()), **_standing(site)}
    return {
        **host_facts.facts(site),
        "tools": host_facts.tools(site, args.get("tools") or ()),
        "pythons": host_facts.pythons(site, args.get("python_versions") or ()),
        "free_bytes": host_facts.free_bytes(site.root),
        "unwritable": write_access.unwritable(site),
        "user_exists": host_facts.user_exists(site.user),
        "foreign": shared_owners.foreign_paths(site),
        "sources": host_facts.sources(args.get("peers") or ()),
        "ports": _ports(site, args.get("ports") or (), args.get("address") or "", args.get("sockets") or {}),
        **_of_site(site),
    }


def _standing(site: Site) -> dict[str, Any]:
    exists = os.path.isdir(site.root)
    return {
        "exists": exists,
        "writable": exists and os.access(site.root, os.W_OK),
        "owner": owner.owner(site) if exists else None,
        "frozen": freeze.frozen(site),
        "lock": lock.holder(site),
        "adoption": adopting.noted(site),
    }


def _of_site(site: Site) -> dict[str, Any]:
    entries = ledger.read(site)
    good, gone = ledger.standing(entries)
    return {
        **_standing(site),
        "current": links.release_at(site.current),
        "releases": _releases(site, good, gone),
        "slots": links.slots(site),
        "processes": links.processes(site),
        "schedules": links.schedules(site),
        "half_done": ledger.open_intents(entries),
    }


def _releases(site: Site, good: list[str], gone: list[str]) -> list[dict[str, Any]]:
    damages: dict[str, str] = {}  # several releases share a virtualenv
    return [_release(site, name, good, gone, damages) for name in release_id.list_releases(site)]


def _release(site: Site, name: str, good: list[str], gone: list[str], damages: dict[str, str]) -> dict[str, Any]:
    marker = _marker(site.release(name) + "/" + MARKER)
    facts: dict[str, Any] = {key: (marker or {}).get(key) for key in _OF_MARKER}
    known = {
        "id": name,
        "complete": marker is not None,
        "proven": name in good or name in gone,
        "withdrawn": name in gone,
    }
    return {**known, **facts, **(_virtualenv(site, name, marker, damages) if marker else {})}


def _virtualenv(site: Site, release: str, marker: dict[str, Any], damages: dict[str, str]) -> dict[str, Any]:
    """`damage`: what is wrong with the release's virtualenv, in words; `repairable`: whether it can be built again."""
    path = site.release(release) + "/.venv"
    real = os.path.realpath(path)
    if real not in damages:
        damages[real] = venv_integrity.damage(path)
    damage = damages[real]
    return {"damage": damage, "repairable": bool(damage) and bool(repair.interpreter(site, marker))}


def _marker(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            marker = json.load(file)
    except (OSError, ValueError):
        return None
    return marker if isinstance(marker, dict) and _is_sound(marker) else None


def _is_sound(marker: dict[str, Any]) -> bool:
    return all(isinstance(marker.get(key), types) for key, types in _OF_MARKER.items())


def _ports(
    site: Site, ports: Iterable[int], address: str, sockets: dict[str, list[str]]
) -> dict[str, dict[str, Any] | None]:
    """port → `{pid, command, user, unit, ours, socket}` of who listens there (on any or that address), None if free."""
    port_numbers = [int(port) for port in ports]
    listening = port_owners.listening(address or "0.0.0.0", port_numbers)
    held = procfs.holders(listener.inode for _, listener in listening)
    answers: dict[str, dict[str, Any] | None] = {str(port): None for port in port_numbers}
    for port, listener in listening:
        pids = sorted(held[listener.inode])
        user = procfs.user_name(listener.uid)
        unseen = {"pid": None, "command": "", "user": user, "unit": "", "ours": False, "socket": False}
        socket_command = sockets.get(str(port)) or []
        answers[str(port)] = _holder(site, pids, socket_command) if pids else answers[str(port)] or unseen
    return answers


def _holder(site: Site, pids: list[int], socket_command: list[str]) -> dict[str, Any]:
    """Who that is. systemd counts only where nobody has taken its socket over: then it may be a stranger's unit's."""
    processes = [pid for pid in pids if pid != port_owners.SYSTEMD]
    strangers = [pid for pid in processes if port_owners.release_of(site, pid) is None]
    is_ours = (
        not strangers
        if processes
        else bool(socket_command) and "active" in process_runner.run(socket_command, timeout=_SHORT).stdout.split()
    )
    pid = (strangers or processes or pids)[0]
    known = {"pid": pid, "command": procfs.command(pid), "user": procfs.user_of(pid), "unit": procfs.unit_of(pid)}
    return {**known, "ours": is_ours, "socket": processes != pids}
