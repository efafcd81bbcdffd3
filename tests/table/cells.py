"""The cells: what is asked of each, what the product refuses, and what a change may cost there."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from support.facts import facts, host, release
from support.topologies import topology

from deployer.errors import SettingsError
from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.model import Plan
from deployer.plan.topology import Topology

Command = Literal["push", "reload", "rollback"]
COMMANDS: tuple[Command, ...] = get_args(Command)
CHANGES: tuple[Command, ...] = (
    *("push", "reload", "rollback", "push", "push"),
    *("reload", "rollback", "push", "reload", "push"),
)
"""What is done to one instance while its users are there, one after the other."""
INSTANCES = 4
"""Behind a balancer: two on each of two hosts, of which two change at a time. Three commands are twelve changes."""

STRATEGIES = ("restart", "bluegreen", "reload", "socket")
SUPERVISORS = ("systemd", "supervisord")
BALANCERS = ("none", "haproxy", "nginx", "caddy")


@dataclass(frozen=True)
class Server:
    """A column of the table. `example` is the app that it serves, `mix` what its users ask for."""

    example: str
    mix: str
    runtime: Mapping[str, Any]


def _asgi(server: str, workers: int) -> Server:
    return Server("shop", "full", {"server": server, "workers": workers, "args": []})


def _wsgi(worker_class: str, workers: int, *args: str) -> Server:
    runtime = {"server": "gunicorn", "worker_class": worker_class, "workers": workers, "args": list(args)}
    return Server("notes", "http", runtime)


SERVERS = {
    "uvicorn": _asgi("uvicorn", 1),
    "uvicorn --workers": _asgi("uvicorn", 2),
    "gunicorn+uvicorn": _asgi("gunicorn+uvicorn", 1),
    "gunicorn-asgi": _asgi("gunicorn-asgi", 1),
    # A sync worker serves one request at a time, and a tenth of these take two seconds.
    "gunicorn sync": _wsgi("sync", 4),
    "gunicorn gthread": _wsgi("gthread", 1, "--threads", "16"),
}


@dataclass(frozen=True)
class Race:
    """What a change may cost where it cannot be nothing. `kinds` and `causes` are those of requests that may fail."""

    name: str
    why: str
    causes: frozenset[str]
    kinds: frozenset[str] | None = None


REFUSED = Race(
    "refused while it restarts",
    "nobody listens between the end of one process and the start of the next",
    frozenset({"refused", "reset", "closed", "truncated"}),
)
ACCEPT = Race(
    "the accept race",
    "uvicorn closes, when it stops, connections that it has accepted and not yet read from",
    frozenset({"reset", "closed"}),
)
WEBSOCKETS = Race(
    "its websockets",
    "gunicorn-asgi ends those that outlive `drain_timeout` without a close frame, whatever the strategy",
    frozenset({"reset", "closed"}),
    frozenset({"websocket"}),
)


@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the table."""

    strategy: str
    server: str
    supervisor: str
    balancer: str

    @property
    def name(self) -> str:
        """`restart/uvicorn/systemd/haproxy`."""
        return "/".join((self.strategy, self.server, self.supervisor, self.balancer))

    @property
    def race(self) -> Race | None:
        """What a change may cost here; None where it costs nothing."""
        if self.balancer == "none" and self.strategy == "restart":
            return REFUSED
        if self.server == "gunicorn-asgi":
            return WEBSOCKETS
        if self.balancer == "none" and self.topology().runtime.race:
            return ACCEPT
        return None

    def topology(self, strategy: str | None = None) -> Topology:
        """Two hosts with two instances each behind the balancer, or one with one, with this strategy or another one."""
        alone = self.balancer == "none"
        runtime = SERVERS[self.server].runtime
        return topology(
            1 if alone else 2,
            0 if alone else 1,
            kind=self.balancer,
            served_by=runtime["server"],
            supervisor=self.supervisor,
            runtime=runtime,
            instances=1 if alone else INSTANCES // 2,
            rolling={"strategy": strategy or self.strategy, "waves": [2]},
        )

    def plan(self, command: Command, strategy: str | None = None) -> Plan:
        """What the product plans for such a change here; SettingsError where it refuses to."""
        old, now, new = (f"2024010{day}T000000Z-0000000{day}" for day in (1, 2, 3))
        where = self.topology(strategy)
        releases = [release(each, venv="k") for each in (old, now)]
        there = [
            host(web.name, releases, current=now, serving=[now] * len(web.ports), held=_held(where))
            for web in where.web
        ]
        names = tuple(web.name for web in where.web)
        wanted = {
            "push": DesiredRelease("push", new, names, starts=dict.fromkeys(names, "start")),
            "reload": DesiredRelease("reload", now, restart=True),
            "rollback": DesiredRelease("rollback", old),
        }
        return make_plan(wanted[command], where, facts(*there))

    @property
    def refusals(self) -> Mapping[Command, str]:
        """Command → why the product refuses it here, in its own words; without those that it carries out."""
        return _refusals(self)

    @property
    def refused(self) -> str:
        """Why no change at all can be made here, in the product's own words; empty where one can."""
        refusals = self.refusals
        return refusals["reload"] if len(refusals) == len(COMMANDS) else ""

    @property
    def commands(self) -> tuple[Command, ...]:
        """What is done here, one after the other: all sorts in turn, of those that are carried out."""
        refusals = self.refusals
        usable = [command for command in CHANGES if command not in refusals]
        wanted = len(CHANGES) if self.balancer == "none" else len(COMMANDS)
        return tuple(itertools.islice(itertools.cycle(usable), wanted))

    @property
    def changes(self) -> int:
        """How often an instance is changed in all."""
        return len(self.commands) * (1 if self.balancer == "none" else INSTANCES)

    @property
    def auto(self) -> str:
        """The strategy that `auto` picks for a push to this server, supervisor and balancer."""
        return self.plan("push", "auto").strategy

    def unforeseen(self, result: Mapping[str, Any]) -> list[str]:
        """What a result has that it should not: failed requests that no race explains, connections that went stale."""
        race = self.race
        if race is None:
            found = [f"{result['failed']} failed: {result['causes']}"] if result["failed"] else []
            return found + ([f"{result['stale']} stale"] if result["stale"] and self.balancer != "none" else [])
        found = [f"{count} {cause}" for cause, count in result["causes"].items() if cause not in race.causes]
        if race.kinds is not None:
            kinds = result["kinds"].items()
            found += [f"{one['failed']} of {kind}" for kind, one in kinds if one["failed"] and kind not in race.kinds]
        if race is ACCEPT and result["failed"] > self.changes:
            found.append(f"{result['failed']} failed, more than one a change")
        return found


@functools.cache
def _refusals(cell: Cell) -> Mapping[Command, str]:
    found: dict[Command, str] = {}
    for command in COMMANDS:
        try:
            cell.plan(command)
        except SettingsError as refused:
            found[command] = refused.message
    return found


def _held(where: Topology) -> Sequence[int]:
    return [port for web in where.web for port in web.ports] if where.holds_ports else ()


CELLS = tuple(Cell(*each) for each in itertools.product(STRATEGIES, SERVERS, SUPERVISORS, BALANCERS))
ALLOWED = tuple(cell for cell in CELLS if not cell.refused)


def chosen(patterns: str = "", seed: str = "", count: int = 6, among: Sequence[Cell] = ALLOWED) -> list[Cell]:
    """The cells whose name matches one of the patterns (separated by commas); of these `count` that the seed draws."""
    found = [cell for cell in among if any(fnmatch.fnmatch(cell.name, each) for each in (patterns or "*").split(","))]
    return sorted(random.Random(seed).sample(found, min(count, len(found)))) if seed else found
