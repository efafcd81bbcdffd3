"""`deploy logs`: the last lines of all instances."""

from __future__ import annotations

import re
import threading

from deployer.errors import UsageError
from deployer.events import Bus, Output
from deployer.plan.topology import Topology, trusted
from deployer.rollout.open import opened
from deployer.rollout.project import Project
from deployer.rollout.record import Record

POLL_S = 1.0
SEARCHED = 5000


def logs(
    project: Project,
    bus: Bus,
    record: Record,
    *,
    lines: int,
    grep: str | None,
    follow: bool,
    everything: bool = False,
    stop: threading.Event,
) -> None:
    """Emits the last `lines` lines of every instance, of those that match `grep`; with `follow`, new ones until Ctrl-C.

    A pattern is looked for in the last 5,000 lines. Health checks that went well are left out where there is no
    pattern, unless `everything` is asked for.
    """
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"{grep!r} is no regular expression: {error}") from None
    checks = None if everything or pattern else health_checks(project.topology)
    with opened(project, bus, record, "logs", stop) as run:
        seen: dict[tuple[str, str], list[str]] = {}
        while True:
            answers = run.each(
                run.web,
                "instance.logs",
                lambda host: {
                    "instances": [
                        run.topology.instance(web, index, port).to_wire()
                        for web in run.topology.web
                        if web.name == host
                        for index in range(len(web.ports))
                        for port in web.slots(index)
                    ],
                    "lines": max(lines, SEARCHED) if pattern or checks else lines,
                },
                step="logs",
            )
            for host, answer in answers.items():
                for port, found in answer["logs"].items():
                    fresh = unseen(seen.get((host, port), []), found)
                    index = run.topology.web_host(host).index_of(int(port))
                    wanted = [line for line in fresh if not (checks and checks.search(line))]
                    for line in [line for line in wanted if pattern is None or pattern.search(line)][-lines:]:
                        bus.emit(Output(line, host=f"{host}:{index}"))
                    seen[host, port] = found
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


def unseen(before: list[str], now: list[str]) -> list[str]:
    """The lines of `now` that come after what `before` showed: both are the tail of one growing log."""
    for overlap in range(min(len(before), len(now)), 0, -1):
        if before[-overlap:] == now[:overlap]:
            return now[overlap:]
    return now
