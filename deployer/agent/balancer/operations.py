"""The balancer's operations: servers out of the pool and back, with a recorded reason and a watchdog behind it.

`run` drains are undone by their own run, by the watchdog when that run's agent is gone, or by the next run's
`balancer.recover`. What a person drained and what is in quarantine stays out until somebody says otherwise; a spare
slot until an instance serves in it.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from deployer.agent.balancer import drain_records, known_endpoints, watchdog
from deployer.agent.balancer.driver import Driver, Server, missing, settle
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.endpoints import parts
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger

_PAUSE = 0.05  # seconds between two looks at the balancer
_TELL = 2.0  # seconds between two words about a drain that takes time


@operation("balancer.drain", longest=lambda args: float(args.get("timeout") or 0) + 10.0)
def drain(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Takes servers out of the pool and waits until what they were doing is done, at most `timeout` seconds.

    Several at once. A server that a person or a quarantine holds already stays as it is. Answers for each server
    `{drained, remaining, seconds, held}`: `remaining` requests and websockets were left at the end.
    """
    site, balancer = Site.from_args(args), create_driver(args["driver"])
    names: list[str] = list(args["servers"])
    by, run = args.get("by", "run"), args["run"]
    servers = balancer.servers()
    problem = missing(servers, names)
    if problem:
        raise problem
    known_endpoints.require_nowhere_else(site, args["driver"], names)
    if by == "run":
        watchdog.arm(ctx, site, run, args["driver"])
    new = drain_records.record(by, run, ctx.identity, args.get("reason", ""))
    with drain_records.editing(site) as records:
        drain_records.follow(records, servers)
        ctx.require_lease("drain " + ", ".join(names))
        for name in names:
            if _gives_way(records.get(name)):
                records[name] = {**new, "at": servers[name].at}
        drain_records.save(site, records)
        _take_out(balancer, names)
        held = {name: records[name] for name in names}
    answers = _until_idle(ctx, site, balancer, names, float(args.get("timeout", 30.0)))
    return {"servers": {name: {**answer, "held": held[name]} for name, answer in answers.items()}}


@operation("balancer.admit", longest=lambda args: float(args.get("wait") or 0) + 10.0)
def admit(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Puts servers back and waits until the balancer sends them requests, at most `wait` seconds.

    A server that a person or a quarantine holds is left alone unless `force`; a person (`by`) may lift a person's own.
    `instead` (name → name) says whose place a server takes: what a person holds out there stays out here. `held` (name
    → record) are servers that are held out again as they were before the run.
    One that does not come up goes back to how it was, with its record: `not_up`.
    """
    site, balancer = Site.from_args(args), create_driver(args["driver"])
    names: list[str] = list(args["servers"])
    before = balancer.servers()
    problem = missing(before, names)
    if problem:
        raise problem
    answers: dict[str, dict[str, Any]] = {}
    with drain_records.editing(site) as records:
        drain_records.follow(records, before)
        _inherit(balancer, records, args.get("instead") or {}, before)
        held_again = {name: record for name, record in (args.get("held") or {}).items() if name in before}
        again = {name: {**record, "at": before[name].at} for name, record in held_again.items()}
        records.update(again)
        balancer.set(sorted(again), "drain")
        for name in names:
            held = records.get(name)
            if held and not _may_lift(held, args):
                answers[name] = {"state": before[name].state, "seconds": 0.0, "held": held}
        balancer.set([name for name in names if name not in answers and not before[name].serves], "ready")
        balancer.keep()
    free = [name for name in names if name not in answers]
    up = _until_up(ctx, balancer, free, float(args.get("wait", 30.0)))
    late = [name for name in free if name not in up]
    seen = balancer.servers() if late else {}
    with drain_records.editing(site) as records:
        for admin in sorted({before[name].admin for name in late}):
            balancer.set([name for name in late if before[name].admin == admin], admin)
        balancer.keep()
        for name in up:
            records.pop(name, None)
        known_endpoints.note(site, args["driver"], balancer)
    answers.update({name: {"state": "UP", "seconds": seconds, "held": None} for name, seconds in up.items()})
    if late:
        raise _not_up([seen[name] for name in late], answers)
    return {"servers": answers}


@operation("balancer.retire")
def retire(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Takes servers out of use: slots that no instance serves in. They stay in maintenance until an admit uses them.

    They get no request meanwhile, whatever starts there and whoever restarts the balancer.
    """
    site, balancer = Site.from_args(args), create_driver(args["driver"])
    names: list[str] = list(args["servers"])
    servers = balancer.servers()
    problem = missing(servers, names)
    if problem:
        raise problem
    with drain_records.editing(site) as records:
        drain_records.follow(records, servers)
        ctx.require_lease("retire " + ", ".join(names))
        fresh = [n for n in names if records.get(n, {}).get("by") != "spare" or servers[n].admin != "maint"]
        spare = drain_records.record("spare", args["run"], ctx.identity, "not in use")
        records.update({name: {**spare, "at": servers[name].at} for name in fresh})
        drain_records.save(site, records)
        balancer.set(fresh, "maint")
        if fresh:
            balancer.keep()
    return {"servers": {name: {"state": "MAINT"} for name in names}}


@operation("balancer.state")
def state(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """How the balancer sees every server of the backend now, and who holds it out.

    `judged_within` are the seconds, at most, to wait until the balancer has checked every server that is to serve:
    right after a reload it has not. Not at all when it is left out.

    `configured`: of a balancer that does not answer, the servers that its configuration has; none of them serves.
    """
    balancer = create_driver(args["driver"])
    try:
        servers = _judged_servers(ctx, balancer, float(args.get("judged_within", 0.0)))
    except OpError as error:
        if error.code != "balancer_down" or not args.get("configured"):
            raise
        servers = {name: _configured_server(name, at) for name, at in balancer.configured().items()}
    records = drain_records.read(Site.from_args(args))
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


@operation("balancer.elsewhere")
def elsewhere(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Whether servers get requests at an earlier address too, which a drain would not stop. See `known_endpoints`.

    Args:
        args: `site`, `driver`, and `servers`, the names to look for.

    Returns:
        `servers`: name → the earlier `ADDRESS:PORT`s, of those that have any.
    """
    return {"servers": known_endpoints.requested_elsewhere(Site.from_args(args), args["driver"], args["servers"])}


@operation("balancer.recover")
def recover(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Admits what earlier runs left drained, and ends their watchdogs. Only for the holder of the app's lock.

    Nothing is waited for: the balancer's own health checks decide whether requests go there. What a person drained and
    what is in quarantine is drained again, should a restart of the host have forgotten it.
    """
    site, balancer, run = Site.from_args(args), create_driver(args["driver"]), args["run"]
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
        known_endpoints.note(site, args["driver"], balancer)
    watchdog.dismiss_others(site, run)
    if admitted:
        ledger.append(site, {"run": run, "event": "admitted", "servers": admitted, "why": "left drained by a dead run"})
    return {"admitted": admitted, "held_again": sorted(name for names in held.values() for name in names)}


@operation("balancer.watch")
def watch(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Arms the watchdog of this run before anything is drained, or says another bound. See `watchdog`.

    `out`, where given, are servers that are to be stopped: they have to be out of the pool when the bound is said.
    """
    site, bound = Site.from_args(args), float(args["bound"])
    return {"armed": watchdog.arm(ctx, site, args["run"], args["driver"], bound, args.get("out") or ())}


def _gives_way(held: drain_records.Record | None) -> bool:
    """Whether a new record may replace this one: a run's own always, a person's or a quarantine never."""
    return held is None or held["by"] == "run"


def _may_lift(held: drain_records.Record, args: dict[str, Any]) -> bool:
    return bool(args.get("force")) or held["by"] in ("run", "spare") or held["by"] == args.get("by") == "person"


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
    ctx: Context, site: Site, balancer: Driver, names: list[str], timeout: float
) -> dict[str, dict[str, Any]]:
    """Waits for what is in flight. Idle means idle at two looks in a row: a request may be between two counters."""
    began = time.monotonic()
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
                name: {"drained": name in idle, "remaining": busy.get(name, 0), "seconds": idle.get(name, seconds)}
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


def _server_data(server: Server, held: drain_records.Record | None) -> dict[str, Any]:
    return {
        "state": server.state,
        "serves": server.serves,
        "check": server.check or server.status,
        "sessions": server.sessions,
        "address": server.at,
        "held": held,
    }


def _not_up(late: list[Server], answers: dict[str, dict[str, Any]]) -> OpError:
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
