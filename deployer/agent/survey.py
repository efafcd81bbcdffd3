"""`host.survey`: all that planning needs to know of a host, in one pass, read-only, whoever asks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any, cast

from deployer.agent.dependencies import venv_integrity
from deployer.agent.model import release_id
from deployer.agent.model.layout import MARKER, Site
from deployer.agent.model.messages import host as wire
from deployer.agent.operation import Context, operation
from deployer.agent.site import freeze, ledger, links, lock, shared_owners, write_access
from deployer.agent.site import ownership as owner
from deployer.agent.system import host_facts, port_owners, process_runner, procfs
from deployer.agent.takeover import record as adoption_record

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


@operation(wire.SURVEY)
def survey(ctx: Context, request: wire.LookAtHost) -> wire.HostFacts:
    """Looks at the host and at the site on it, in one pass, and changes nothing.

    What is missing or may not be read is null, false or empty.
    """
    site = Site.of(request)
    facts = cast("wire.HostFacts", _standing(site))
    if not request.get("brief"):
        facts.update(cast("wire.HostFacts", host_facts.facts(site)))
        facts.update(
            {
                "tools": host_facts.tools(site, request.get("tools", ())),
                "pythons": host_facts.pythons(site, request.get("python_versions", ())),
                "free_bytes": host_facts.free_bytes(site.root),
                "unwritable": write_access.unwritable(site),
                "user_exists": host_facts.user_exists(site.user),
                "foreign": shared_owners.foreign_paths(site),
                "sources": host_facts.sources(request.get("peers", ())),
                "ports": _ports(site, request.get("ports", ()), request.get("address", ""), request.get("sockets", {})),
            }
        )
        _add_site(facts, site)
    return facts


def _standing(site: Site) -> wire.Standing:
    exists = os.path.isdir(site.root)
    return {
        "user": procfs.user_name(os.geteuid()),
        "exists": exists,
        "writable": exists and os.access(site.root, os.W_OK),
        "owner": owner.owner(site) if exists else None,
        "frozen": freeze.frozen(site),
        "lock": lock.holder(site),
        "adoption": adoption_record.read(site),
    }


def _add_site(facts: wire.HostFacts, site: Site) -> None:
    entries = ledger.read(site)
    good, gone = ledger.standing(entries)
    facts.update(
        {
            "current": links.release_at(site.current),
            "releases": _releases(site, good, gone),
            "slots": links.slots(site),
            "processes": links.processes(site),
            "schedules": links.schedules(site),
            "half_done": ledger.open_intents(entries),
        }
    )


def _releases(site: Site, good: list[str], gone: list[str]) -> list[wire.ReleaseFolder]:
    damages: dict[str, str] = {}  # several releases share a virtualenv
    return [_release(site, name, good, gone, damages) for name in release_id.list_releases(site)]


def _release(site: Site, name: str, good: list[str], gone: list[str], damages: dict[str, str]) -> wire.ReleaseFolder:
    marker = _marker(site.release(name) + "/" + MARKER)
    about = marker or {}
    folder: wire.ReleaseFolder = {
        "id": name,
        "complete": marker is not None,
        "proven": name in good or name in gone,
        "withdrawn": name in gone,
        "content": about.get("content"),
        "commit": about.get("commit"),
        "venv": about.get("venv"),
        "run_sha": about.get("run_sha"),
        "start_sha": about.get("start_sha"),
        "bind": about.get("bind"),
        "asked": about.get("asked"),
        "created": about.get("created"),
        "origin": about.get("origin"),
        "health": about.get("health"),
        "resolution": about.get("resolution"),
        "processes": about.get("processes"),
    }
    if marker:
        folder["damage"] = _damage(site, name, damages)
        folder["repairable"] = bool(folder["damage"]) and _is_repairable(site, marker)
    return folder


def _damage(site: Site, release: str, damages: dict[str, str]) -> str:
    """What is wrong with the release's virtualenv, in words; empty: nothing."""
    path = site.release(release) + "/.venv"
    real = os.path.realpath(path)
    if real not in damages:
        damages[real] = venv_integrity.damage(path)
    return damages[real]


def _is_repairable(site: Site, marker: dict[str, Any]) -> bool:
    from deployer.agent.dependencies import repair  # what builds virtualenvs takes a while to compile

    return bool(repair.interpreter(site, marker))


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
) -> dict[str, wire.PortHolder | None]:
    """port → `{pid, command, user, unit, ours, socket}` of who listens there (on any or that address), None if free."""
    port_numbers = [int(port) for port in ports]
    listening = port_owners.listening(address or "0.0.0.0", port_numbers)
    held = procfs.holders(listener.inode for _, listener in listening)
    answers: dict[str, wire.PortHolder | None] = {str(port): None for port in port_numbers}
    for port, listener in listening:
        pids = sorted(held[listener.inode])
        user = procfs.user_name(listener.uid)
        unseen: wire.PortHolder = {"pid": None, "command": "", "user": user, "unit": "", "ours": False, "socket": False}
        socket_command = sockets.get(str(port)) or []
        answers[str(port)] = _holder(site, pids, socket_command) if pids else answers[str(port)] or unseen
    return answers


def _holder(site: Site, pids: list[int], socket_command: list[str]) -> wire.PortHolder:
    """Who that is. systemd counts only where nobody has taken its socket over: then it may be a stranger's unit's."""
    processes = [pid for pid in pids if pid != port_owners.SYSTEMD]
    strangers = [pid for pid in processes if port_owners.release_of(site, pid) is None]
    is_ours = (
        not strangers
        if processes
        else bool(socket_command) and "active" in process_runner.run(socket_command, timeout=_SHORT).stdout.split()
    )
    pid = (strangers or processes or pids)[0]
    return {
        "pid": pid,
        "command": procfs.command(pid),
        "user": procfs.user_of(pid),
        "unit": procfs.unit_of(pid),
        "ours": is_ours,
        "socket": processes != pids,
    }
