"""`deploy logs`: the last lines of all instances."""

from __future__ import annotations

import math
import re
import threading

from deployer.errors import UsageError
from deployer.events import Bus, Output
from deployer.plan.topology import Topology, trusted
from deployer.rollout.open import opened
from deployer.rollout.project import Project
from deployer.rollout.record import Record
from deployer.rollout.run import Run

POLL_S = 1.0
SEARCHED = 5000
USUAL = 50


def logs(
    project: Project,
    bus: Bus,
    record: Record,
    *,
    lines: int | None,
    since: float | None = None,
    grep: str | None,
    follow: bool,
    everything: bool = False,
    process: str | None = None,
    stop: threading.Event,
) -> None:
    """Emits the last `lines` lines of every instance, process and schedule, of those that match `grep`; 50 by default.

    `since` (seconds): only what was written within so long, 5,000 lines by default; AgentError `no_times` where logs do
    not tell.

    With `follow` new ones too, until Ctrl-C. `process` names a process or schedule whose lines alone are wanted;
    UsageError if there is none. A pattern is looked for in the last 5,000 lines. Health checks that went well are left
    out where there is no pattern, unless `everything` is asked for.
    """
    settings = project.topology.settings
    known = {**settings.processes, **settings.schedules}
    if process is not None and process not in known:
        raise UsageError(
            f"there is no process or schedule {process!r}", hint=f"there are: {', '.join(known) or 'none'}"
        )
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"{grep!r} is no regular expression: {error}") from None
    wished = lines or (SEARCHED if since else USUAL)
    checks = None if everything or pattern else health_checks(project.topology)
    with opened(project, bus, record, "logs", stop) as run:
        seen: dict[tuple[str, str], list[str]] = {}
        searched = max(wished, SEARCHED) if pattern or checks else wished
        while True:
            for (host, name), found in _read(run, process, searched, since).items():
                fresh = unseen(seen.get((host, name), []), found)
                wanted = [line for line in fresh if not (checks and checks.search(line))]
                for line in [line for line in wanted if pattern is None or pattern.search(line)][-wished:]:
                    bus.emit(Output(line, host=f"{host}:{_shown(run, host, name)}"))
                seen[host, name] = found
            if not follow or stop.wait(POLL_S):
                return


def health_checks(topology: Topology) -> re.Pattern[str] | None:
    """What lines of an access log look like in which a balancer or an agent was told that all is well.

    They come from the host itself or a balancer, ask for the health path, and were answered with less than 400. None
    where there is no health path but `/`, which users ask for too.
    """
    if topology.health_path == "/":
        return None
    own = [web.own.address for web in topology.everywhere]
    addresses = "|".join(re.escape(address) for address in (*trusted(topology.balancers), *own))
    asked = rf'"(?:GET|HEAD) {re.escape(topology.health_path)} HTTP/[0-9.]+" [123][0-9]{{2}}\b'
    return re.compile(rf"(?<![0-9.])(?:{addresses})(?::[0-9]+)? .*{asked}")


def _read(run: Run, process: str | None, count: int, since: float | None) -> dict[tuple[str, str], list[str]]:
    """(host, port, `worker@1` or `nightly`) → the last `count` lines; only those of one process, where it is named."""
    topology = run.topology
    webs = {web.name: web for web in topology.web}
    found: dict[tuple[str, str], list[str]] = {}
    instances = {
        name: [topology.instance(web, i, port).to_wire() for i in range(len(web.ports)) for port in web.slots(i)]
        for name, web in webs.items()
    }
    processes = {
        name: [
            topology.process(web, *each).to_wire() for each in topology.processes_of(web) if process in (None, each[0])
        ]
        for name, web in webs.items()
    }
    schedules = {
        name: [topology.schedule(web, each).to_wire() for each in topology.schedules_of(web) if process in (None, each)]
        for name, web in webs.items()
    }
    for operation, key, wires in (
        ("instance.logs", "instances", instances if process is None else {}),
        ("processes.logs", "processes", processes),
        ("schedules.logs", "schedules", schedules),
    ):
        hosts = [host for host in run.web if wires.get(host)]
        asked = {"lines": count, "seconds": math.ceil(since or 0)}
        args = {host: {key: wires[host], **asked} for host in hosts}
        for host, answer in run.each(hosts, operation, args.__getitem__, step="logs").items():
            found |= {(host, name): lines for name, lines in answer["logs"].items()}
    return found


def _shown(run: Run, host: str, name: str) -> str:
    """The index of the instance at a port; a process or schedule as it is called."""
    return str(run.topology.web_host(host).index_of(int(name))) if name.isdigit() else name


def unseen(before: list[str], now: list[str]) -> list[str]:
    """The lines of `now` that come after what `before` showed: both are the tail of one growing log."""
    for overlap in range(min(len(before), len(now)), 0, -1):
        if before[-overlap:] == now[:overlap]:
            return now[overlap:]
    return now
