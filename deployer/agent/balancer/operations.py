"""The balancer's operations: servers out of the pool and back, with a recorded reason and a watchdog behind it.

`run` drains are undone by their own run, by the watchdog when that run's agent is gone, or by the next run's
`balancer.recover`. What a person drained and what is in quarantine stays out until somebody says otherwise; a spare
slot until an instance serves in it.
"""

from __future__ import annotations

import time
from typing import Callable

from deployer.agent.balancer import drain_records, known_endpoints, watchdog
from deployer.agent.balancer.driver import Driver, Server, missing, settle
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.endpoints import parts
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import balancer as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger

_PAUSE = 0.05  # seconds between two looks at the balancer
_TELL = 2.0  # seconds between two words about a drain that takes time


@operation(wire.DRAIN, longest=lambda request: float(request.get("timeout") or 0) + 10.0)
def drain(ctx: Context, request: wire.Drain) -> wire.Drained:
    """Takes servers out of the pool and waits until what they were doing is done, several at once.

    A server that a person or a quarantine holds already stays as it is. One that is busy at the timeout stays out too.

    Raises:
        OpError: `unknown_server`, `balancer_down`, `lease_lost`, `watchdog_failed`, `old_address` (a server gets
            requests at an earlier address too), `host_busy`.
    """
    site, balancer = Site.of(request), create_driver(request["driver"])
    names: list[str] = list(request["servers"])
    by, run = request.get("by", "run"), request["run"]
    servers = balancer.servers()
    problem = missing(servers, names)
    if problem:
        raise problem
    known_endpoints.require_nowhere_else(site, request["driver"], names)
    if by == "run":
        watchdog.arm(ctx, site, run, request["driver"])
    new = drain_records.record(by, run, ctx.identity, request.get("reason", ""))
    with drain_records.editing(site) as records:
        drain_records.follow(records, servers)
        ctx.require_lease("drain " + ", ".join(names))
        for name in names:
            if _gives_way(records.get(name)):
                records[name] = {**new, "at": servers[name].at}
        drain_records.save(site, records)
        _take_out(balancer, names)
        held = {name: records[name] for name in names}
    return {"servers": _until_idle(ctx, site, balancer, held, float(request.get("timeout", 30.0)))}


@operation(wire.ADMIT, longest=lambda request: float(request.get("wait") or 0) + 10.0)
def admit(ctx: Context, request: wire.Admit) -> wire.Admitted:
    """Puts servers back and waits until the balancer sends them requests.

    A server that a person or a quarantine holds is left alone unless `force`; a person may lift a person's own. What a
    person holds out at the place of `instead` stays out here. One that does not come up goes back to how it was, with
    its record.

    Raises:
        OpError: `not_up` (those stay as they were; detail: `late, servers`), `unknown_server`, `balancer_down`,
            `host_busy`.
    """
    site, balancer = Site.of(request), create_driver(request["driver"])
    names: list[str] = list(request["servers"])
    before = balancer.servers()
    problem = missing(before, names)
    if problem:
        raise problem
    answers: dict[str, wire.AdmittedServer] = {}
    with drain_records.editing(site) as records:
        drain_records.follow(records, before)
        _inherit(balancer, records, request.get("instead") or {}, before)
        held_again = {name: record for name, record in (request.get("held") or {}).items() if name in before}
        again: drain_records.Records = {name: {**record, "at": before[name].at} for name, record in held_again.items()}
        records.update(again)
        balancer.set(sorted(again), "drain")
        for name in names:
            held = records.get(name)
            if held and not _may_lift(held, request):
                answers[name] = {"state": before[name].state, "seconds": 0.0, "held": held}
        balancer.set([name for name in names if name not in answers and not before[name].serves], "ready")
        balancer.keep()
    free = [name for name in names if name not in answers]
    up = _until_up(ctx, balancer, free, float(request.get("wait", 30.0)))
    late = [name for name in free if name not in up]
    seen = balancer.servers() if late else {}
    with drain_records.editing(site) as records:
        for admin in sorted({before[name].admin for name in late}):
            balancer.set([name for name in late if before[name].admin == admin], admin)
        balancer.keep()
        for name in up:
            records.pop(name, None)
        known_endpoints.note(site, request["driver"], balancer)
    answers.update({name: {"state": "UP", "seconds": seconds, "held": None} for name, seconds in up.items()})
    if late:
        raise _not_up([seen[name] for name in late], answers)
    return {"servers": answers}


@operation(wire.RETIRE)
def retire(ctx: Context, request: wire.TakeOutOfUse) -> wire.OutOfUse:
    """Takes slots that no instance serves in out of use, until an admit uses them.

    They stay in maintenance and get no request, whatever starts there, and after each restart of the balancer.

    Raises:
        OpError: `unknown_server`, `balancer_down`, `lease_lost`, `host_busy`.
    """
    site, balancer = Site.of(request), create_driver(request["driver"])
    names: list[str] = list(request["servers"])
    servers = balancer.servers()
    problem = missing(servers, names)
    if problem:
        raise problem
    with drain_records.editing(site) as records:
        drain_records.follow(records, servers)
        ctx.require_lease("retire " + ", ".join(names))
        fresh = [n for n in names if not _is_spare(records.get(n)) or servers[n].admin != "maint"]
        spare = drain_records.record("spare", request["run"], ctx.identity, "not in use")
        records.update({name: {**spare, "at": servers[name].at} for name in fresh})
        drain_records.save(site, records)
        balancer.set(fresh, "maint")
        if fresh:
            balancer.keep()
    return {"servers": {name: {"state": "MAINT"} for name in names}}


@operation(wire.STATE)
def state(ctx: Context, request: wire.LookAtPool) -> wire.PoolState:
    """Reads how the balancer sees every server of the pool now, and who holds it out.

    Right after a reload it has judged none; `judged_within` waits for that.

    Raises:
        OpError: `balancer_down`.
    """
    balancer = create_driver(request["driver"])
    try:
        servers = _judged_servers(ctx, balancer, float(request.get("judged_within", 0.0)))
    except OpError as error:
        if error.code != "balancer_down" or not request.get("configured"):
            raise
        servers = {name: _configured_server(name, at) for name, at in balancer.configured().items()}
    records = drain_records.read(Site.of(request))
    drain_records.follow(records, servers)
    return {"servers": {name: _server_data(server, records.get(name)) for name, server in servers.items()}}


def _judged_servers(ctx: Context, balancer: Driver, within: float) -> dict[str, Server]:
    end = time.monotonic() + within
    servers = balancer.servers()
    while time.monotonic() < end and not all(server.judged for server in servers.values()):
        ctx.cancelled.wait(_PAUSE)
        servers = balancer.servers()
    return servers


def _configured_server(name: str, at: str) -> Server:
    address, port = parts(at)
    return Server(name, address, port, admin="ready", status="", check="", sessions=0)


@operation(wire.ELSEWHERE)
def elsewhere(ctx: Context, request: wire.LookElsewhere) -> wire.Elsewhere:
    """Finds servers that get requests at an earlier address too, which a drain would not stop.

    Only of a pool that deploy does not configure. See `known_endpoints`.

    Raises:
        OpError: `balancer_down`.
    """
    return {"servers": known_endpoints.requested_elsewhere(Site.of(request), request["driver"], request["servers"])}


@operation(wire.RECOVER)
def recover(ctx: Context, request: wire.Recover) -> wire.Recovered:
    """Admits what dead runs left drained, and ends their watchdogs. Only for the holder of the app's lock.

    Nothing is waited for: the balancer's own health checks decide whether requests go there. What a person drained and
    what is in quarantine is drained again, should a restart of the host have forgotten it.

    Raises:
        OpError: `balancer_down`, `host_busy`.
    """
    site, balancer, run = Site.of(request), create_driver(request["driver"]), request["run"]
    admitted: list[str] = []
    held: dict[str, list[str]] = {}
    with drain_records.editing(site) as records:
        servers = balancer.servers()
        drain_records.follow(records, servers)
        for name, record in sorted(records.items()):
            if name not in servers:
                del records[name]
            elif record["by"] != "run" and servers[name].admin == "ready":
                held.setdefault(drain_records.admin_of(record), []).append(name)
            elif record["by"] == "run" and record["run"] != run:
                admitted.append(name)
        for admin, names in sorted(held.items()):
            settle(balancer, names, admin)
        settle(balancer, admitted, "ready")
        for name in admitted:
            del records[name]
        known_endpoints.note(site, request["driver"], balancer)
    watchdog.dismiss_others(site, run)
    if admitted:
        ledger.append(site, {"run": run, "event": "admitted", "servers": admitted, "why": "left drained by a dead run"})
    return {"admitted": admitted, "held_again": sorted(name for names in held.values() for name in names)}


@operation(wire.WATCH)
def watch(ctx: Context, request: wire.Watch) -> wire.Watched:
    """Arms the watchdog of this run before anything is drained, or sets another bound. See `watchdog`.

    From then on the watchdog admits this run's drained servers `bound` seconds after this agent was last alive with a
    fresh lease.

    Raises:
        OpError: `not_out` (a server of `out` gets requests), `watchdog_failed`, `balancer_down`.
    """
    site, bound = Site.of(request), float(request["bound"])
    return {"armed": watchdog.arm(ctx, site, request["run"], request["driver"], bound, request.get("out") or ())}


def _is_spare(held: drain_records.Record | None) -> bool:
    return held is not None and held["by"] == "spare"


def _gives_way(held: drain_records.Record | None) -> bool:
    """Whether a new record may replace this one: a run's own always, a person's or a quarantine never."""
    return held is None or held["by"] == "run"


def _may_lift(held: drain_records.Record, request: wire.Admit) -> bool:
    return request.get("force", False) or held["by"] in ("run", "spare") or held["by"] == request.get("by") == "person"


def _inherit(
    balancer: Driver, records: drain_records.Records, instead: dict[str, str], servers: dict[str, Server]
) -> None:
    """A person's drain is of the instance, and goes with it to its other slot, or to its other address."""
    for name, other in instead.items():
        record = records.get(other)
        if record and record["by"] == "person":
            records[name] = {**record, "at": servers[name].at}
            balancer.set([name], "drain")


def _take_out(balancer: Driver, names: list[str]) -> None:
    """Drains those that get requests; one in maintenance gets none and stays there."""
    servers = balancer.servers()
    balancer.set([name for name in names if servers[name].admin == "ready"], "drain")
    balancer.keep()


def _until_idle(
    ctx: Context, site: Site, balancer: Driver, held: drain_records.Records, timeout: float
) -> dict[str, wire.DrainedServer]:
    """Waits for what is in flight. Idle means idle at two looks in a row: a request may be between two counters."""
    began, names = time.monotonic(), list(held)
    idle: dict[str, float] = {}
    once: dict[str, float] = {}
    tell = _Every(_TELL)
    while True:
        servers = balancer.servers()
        _take_out_again(site, balancer, servers, names)
        seconds = round(time.monotonic() - began, 3)
        for name in names:
            if servers[name].sessions:
                once.pop(name, None)
                idle.pop(name, None)
            elif name in once:
                idle.setdefault(name, once[name])
            else:
                once[name] = seconds
        busy = {name: servers[name].sessions for name in names if name not in idle}
        if not busy or seconds >= timeout or _told_to_stop(ctx):
            return {
                name: {
                    "drained": name in idle,
                    "remaining": busy.get(name, 0),
                    "seconds": idle.get(name, seconds),
                    "held": held[name],
                }
                for name in names
            }
        if tell.due():
            for name, count in busy.items():
                ctx.progress("%s: %d still in flight" % (name, count), server=name, remaining=count)
        ctx.cancelled.wait(_PAUSE)


def _take_out_again(site: Site, balancer: Driver, servers: dict[str, Server], names: list[str]) -> None:
    """A reload by somebody else, begun before the drain was written down, brings a server back: drain it again.

    One that has no record any more was put back by the watchdog, for this agent was asleep: it stays in the pool.
    """
    if any(servers[name].admin == "ready" for name in names):
        with drain_records.editing(site) as records:
            _take_out(balancer, [name for name in names if name in records])


def _until_up(ctx: Context, balancer: Driver, names: list[str], wait: float) -> dict[str, float]:
    """The seconds after which each server served; those that did not within `wait` are missing."""
    began = time.monotonic()
    up: dict[str, float] = {}
    while len(up) < len(names):
        servers = balancer.servers()
        seconds = round(time.monotonic() - began, 3)
        for name in names:
            if servers[name].serves:
                up.setdefault(name, seconds)
        undone = [name for name in names if name not in up and servers[name].admin != "ready"]
        if undone:  # by a reload that somebody else asked for
            balancer.set(undone, "ready")
        if seconds >= wait or ctx.cancelled.is_set():
            break
        if len(up) < len(names):
            time.sleep(_PAUSE)
    return up


def _told_to_stop(ctx: Context) -> bool:
    return ctx.cancelled.is_set() or ctx.lost.is_set()


def _server_data(server: Server, held: drain_records.Record | None) -> wire.ServerState:
    return {
        "state": server.state,
        "serves": server.serves,
        "check": server.check or server.status,
        "sessions": server.sessions,
        "address": server.at,
        "held": held,
    }


def _not_up(late: list[Server], answers: dict[str, wire.AdmittedServer]) -> OpError:
    seen = [f"{server.name} at {server.at} ({server.check or server.status or 'not checked'})" for server in late]
    return OpError(
        "not_up",
        "the balancer's health check does not pass for " + ", ".join(seen),
        "look at what the balancer's host gets from that address; deploy status {env} shows the check",
        detail={"late": [server.name for server in late], "servers": answers},
    )


class _Every:
    """True once in `seconds`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = clock() + seconds

    def due(self) -> bool:
        if self._clock() < self._next:
            return False
        self._next = self._clock() + self._seconds
        return True
