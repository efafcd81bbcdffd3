"""What a survey could have found on hosts, in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from deployer.agent.model.messages.balancer import ServerState
from deployer.plan.facts import Facts, HostFacts, Serving

Release = dict[str, Any]


def release(id: str, **other: Any) -> Release:
    """A folder that is complete and proven, made of `content` and started by `start_sha`, unless said otherwise."""
    usual = {"complete": True, "proven": True, "withdrawn": False, "content": f"content of {id}", "start_sha": "start"}
    unknown = ("run_sha", "venv", "bind", "commit", "origin", "asked", "health", "processes", "resolution")
    return {"id": id, **usual, **dict.fromkeys(unknown), "created": 0.0, **other}


def host(
    name: str,
    releases: Sequence[str | Release] = (),
    *,
    current: str | None = None,
    serving: Sequence[str | None] | None = None,
    unproven: Mapping[int, str] | None = None,
    first_port: int = 8000,
    beside: Mapping[int, tuple[int, str]] | None = None,
    held: Sequence[int] = (),
    unseen: Sequence[int] = (),
    **raw: Any,
) -> HostFacts:
    """One host.

    Args:
        releases: ids, or releases made by `release`.
        serving: what each instance serves, None for one that is down; one instance on `current` by default.
        unproven: index → why the instance does not prove what it serves.
        beside: index → port and release of the other slot, where that is in use too.
        unseen: indexes of instances whose processes the SSH user may not look at.
        held: ports that the supervisor has open for the instances.
        raw: other facts of the survey.
    """
    folders = [release(each) if isinstance(each, str) else each for each in releases]
    served = ([current] if current else []) if serving is None else serving
    wrong = unproven or {}
    states = {
        index: Serving(
            first_port + index,
            found,
            found is not None and index not in wrong,
            wrong.get(index, "" if found else "down"),
            unseen=index in unseen,
        )
        for index, found in enumerate(served)
    }
    by_supervisor = {"pid": 1, "command": "systemd", "user": "root", "unit": "", "ours": True, "socket": True}
    ports = {str(port): by_supervisor for port in held}
    processes, schedules = raw.pop("process_state", {}), raw.pop("schedule_state", {})
    found = {"exists": True, "writable": True, "current": current, "releases": folders, "ports": ports, **raw}
    others = {index: Serving(port, found, True) for index, (port, found) in (beside or {}).items()}
    survey: Any = found
    return HostFacts(name, survey, states, others, processes, schedules)


def bare_host(name: str, **reported: Any) -> HostFacts:
    """A host whose survey reported these facts and no others."""
    survey: Any = reported
    return HostFacts(name, survey)


def change_survey(host: HostFacts, **reported: Any) -> HostFacts:
    """The same host with these facts in place of what its survey reported of them."""
    survey: Any = {**(host.survey or {}), **reported}
    return replace(host, survey=survey)


def server_state(state: str = "UP", **other: Any) -> ServerState:
    """What a balancer says of a server: in its pool and used when `state` is UP, unless `other` says differently."""
    usual = {"state": state, "serves": state == "UP", "check": "", "sessions": 0, "address": "", "held": None}
    return cast("ServerState", {**usual, **other})


def facts(*hosts: HostFacts) -> Facts:
    """All hosts together."""
    return Facts({each.name: each for each in hosts})
