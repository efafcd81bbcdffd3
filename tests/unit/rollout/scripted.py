"""A fleet in memory: hosts with instances, balancers with pools, and a script of what goes wrong there.

It answers the operations of docs/operations.md as agents do, and notes what users would have felt: `harm` when
something stopped that a balancer sent requests to, `lowest` for the fewest instances that were ever there for them.

Every request has to be one that agents take, and every answer one that they give (`World.call`);
test_scripted_fleet.py holds the answers against those of a real agent.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from support.operations import require_declared_error, require_declared_request

from deployer.balancers.base import first_name
from deployer.errors import DeployError
from deployer.events import Bus, Event
from deployer.plan.model import Action, InstanceStep, Plan, ProcessStep
from deployer.plan.topology import Topology
from deployer.remote.errors import AgentError, SessionLost
from deployer.remote.messages.responses import require_expected
from deployer.rollout.rolling.waves import Checks, Waves
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.record import Record
from deployer.rollout.run.run import Run
from deployer.rollout.steps.current_release import promote

OLD, NEW = "20240101T000000Z-aaaaaaaa", "20240601T000000Z-bbbbbbbb"
Hook = Callable[[], None]


BREACHES: list[Exception] = []
"""What in the running test was asked, or answered, otherwise than between a controller and a real agent.

A run may make any other error of it; the fixture `_no_breaches` of conftest.py fails the test.
"""


@contextmanager
def noted_breaches() -> Iterator[None]:
    """Notes what the block raises."""
    try:
        yield
    except Exception as error:
        BREACHES.append(error)
        raise


@dataclass
class Slot:
    """A server as one balancer has it. `by` holds it out: run, person, quarantine, or None."""

    admin: str = "ready"
    by: str | None = None


@dataclass
class World:
    """All hosts of a topology, serving `release` (None: nothing was ever pushed).

    `bad` are (release, host) that do not start; `sick` are those that start, and fail the proof afterwards.
    `silent` are hosts not heard of for so many seconds. `shown` are all (server, release) that requests were ever sent
    to. `before` are hooks by (operation, host), each called once. `bounds` are what each balancer's watchdog was told.
    `held` are servers whose port the supervisor has; `reloaded` those whose workers were replaced, in order. `figures`
    tells what requests came to, by server and what it serves then.
    `wedged` are processes (host, label) that do not come back to what they had.
    `led` are balancers whose foreign frontends lead to ours, `retired` the hosts whose foreign units were stopped,
    `foreign` what their agents tell of these.
    `maintenance` is the record of the page that users get instead of the app.
    `applied` are the paths that were made so, host by host; `emptied` the hosts that the app was taken off.
    `places` says where balancers know servers, `silent_places` where nothing answers; `picky` servers
    answer health checks of their own host alone.
    """

    topology: Topology
    release: str | None = OLD
    bad: set[tuple[str, str]] = field(default_factory=set)
    sick: set[tuple[str, str]] = field(default_factory=set)
    silent: dict[str, float] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    before: dict[tuple[str, str], list[Hook]] = field(default_factory=dict)
    harm: list[str] = field(default_factory=list)
    shown: set[tuple[str, str | None]] = field(default_factory=set)
    bounds: dict[str, float] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    reloaded: list[str] = field(default_factory=list)
    figures: Callable[[str, str | None], dict[str, Any]] | None = None
    applied: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    wedged: set[tuple[str, str]] = field(default_factory=set)
    led: set[str] = field(default_factory=set)
    retired: set[str] = field(default_factory=set)
    foreign: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    maintenance: dict[str, Any] | None = None
    answers: dict[str, int | None] = field(default_factory=dict)
    locations: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    silent_places: set[str] = field(default_factory=set)
    picky: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        shape = self.topology
        first = [shape.server(web.name, port) for web in shape.web for port in web.ports]
        spare = [shape.server(web.name, port) for web in shape.web for port in web.spare_ports]
        named = [*first, *spare]
        self.serving: dict[str, str | None] = {**dict.fromkeys(first, self.release), **dict.fromkeys(spare)}
        self.pids: dict[str, int] = dict.fromkeys(named, 100)
        self.current: dict[str, str | None] = dict.fromkeys((web.name for web in shape.web), self.release)
        self.pools = {lb.name: {server: Slot() for server in named} for lb in shape.balancers}
        self.processes: dict[tuple[str, str], str | None] = {}
        self.lowest = self.available

    # -- what tests ask ---------------------------------------------------------------------------------------------

    @property
    def available(self) -> int:
        """Instances that serve and that every balancer sends requests to."""
        return sum(
            found is not None and all(self._answers(pool, server) for pool in self.pools.values())
            for server, found in self.serving.items()
        )

    def _answers(self, pool: Mapping[str, Slot], slot: str) -> bool:
        """Whether requests that a balancer sends to a slot, by any of its names, are answered."""
        ready = [name for name, found in pool.items() if first_name(name) == slot and found.admin == "ready"]
        return any(self.places.get(name) not in self.silent_places for name in ready)

    def _at(self, server: str) -> str | None:
        """What answers at a server's place."""
        return None if self.places.get(server) in self.silent_places else self.serving[first_name(server)]

    @property
    def out(self) -> dict[str, str | None]:
        """The servers that some balancer keeps out, and who asked for it."""
        return {
            server: slot.by
            for pool in self.pools.values()
            for server, slot in pool.items()
            if slot.admin != "ready" and slot.by != "spare"
        }

    @property
    def busy(self) -> dict[str, str]:
        """The servers that serve anything, and what."""
        return {server: found for server, found in self.serving.items() if found}

    def on(self, operation: str, host: str, do: Hook) -> None:
        """Calls `do` just before the next such operation on that host; what it raises is the host's answer."""
        self.before.setdefault((operation, host), []).append(do)

    def fails(self, operation: str, host: str, code: str = "internal") -> None:
        """The next such operation on that host is refused, before it does anything."""

        def refuse() -> None:
            raise AgentError(code, f"{operation} was refused by the script")

        self.on(operation, host, refuse)

    def loses(self, host: str) -> None:
        """The link to a host dies now; what runs there goes on."""
        self.lost.add(host)

    def hold(self, server: str, by: str) -> None:
        """Somebody takes a server out of all balancers."""
        for pool in self.pools.values():
            pool[server] = Slot("drain", by)
        self.lowest = self.available

    # -- the seam that a run sees -----------------------------------------------------------------------------------

    def __getitem__(self, host: str) -> Agent:
        return Agent(self, host)

    def call(self, host: str, operation: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a host, as it would have crossed the wire: nothing of the script's own state is shared."""
        with noted_breaches():
            require_declared_request(operation, args)
        try:
            answer = self._answer(host, operation, args)
        except AgentError as error:
            with noted_breaches():
                require_declared_error(operation, error.code)
            raise
        with noted_breaches():
            return require_expected(host, operation, args, json.loads(json.dumps(answer)))

    def _answer(self, host: str, operation: str, args: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            hooks = self.before.get((operation, host))
            if hooks:
                hooks.pop(0)()
            if host in self.lost:
                raise SessionLost(f"the session with {host} was lost", host=host)
            try:
                answer: dict[str, Any] = getattr(self, operation.replace(".", "_"))(host, args)
            finally:
                self._look()
            # What is scripted here is held against what the agent declares.
            return require_expected(host, operation, args, json.loads(json.dumps(answer)))

    # -- operations of web hosts ------------------------------------------------------------------------------------

    def instance_switch(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        release, previous = args["release"], args["previous"]
        server = self._server(host, args["instance"])
        if args["reload"] is not None:
            return self._reloaded(host, server, release)
        as_wanted = args["via"] == "restore" or (server in self.held) == args["instance"]["socket"]
        there = self.serving[server] == release and (release, host) not in self.sick
        if there and as_wanted and args["via"] != "reload":
            return {"pids": [self.pids[server]], "seconds": 0.0, "changed": False}
        if not args["instance"]["socket"]:
            self.held.discard(server)
        self._stopped(server)
        before, self.held = self.held, self.held | ({server} if args["instance"]["socket"] else set())
        for hook in self.before.pop(("stopped", host), ()):
            hook()
        if host in self.lost:
            raise SessionLost(f"the session with {host} was lost", host=host)
        if (release, host) not in self.bad:
            self.serving[server] = release
            return {"pids": [self.pids[server]], "seconds": 0.0, "changed": True}
        self.held = before
        if previous is not None and (previous, host) not in self.bad:
            self.serving[server] = previous
        restored = previous is None or self.serving[server] is not None
        detail = {"restored": restored, "serving": self.serving[server]} | (
            {} if restored else {"undo": "it does not start"}
        )
        raise AgentError("unhealthy", f"{release} did not answer", log=["Traceback: boom"], detail=detail)

    def processes_switch(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """A process named in `wedged` comes to no release any more once it has left what it had."""
        name, release = label(args["process"]), args["release"]
        previous = self.processes.get((host, name), self.release)
        if previous == release and args["via"] != "reload":
            return {"pid": 100, "seconds": 0.0, "changed": False}
        wedged = (host, name) in self.wedged
        if (release, host) in self.bad or (args["via"] == "restore" and wedged):
            self.processes[host, name] = None if wedged else previous
            detail = {"restored": not wedged, "serving": self.processes[host, name]}
            undo = {"undo": "it does not start"} if wedged else {}
            raise AgentError(
                "did_not_start", f"{name} did not start with {release}", log=["no queue"], detail={**detail, **undo}
            )
        self.processes[host, name] = release
        return {"pid": 100, "seconds": 0.0, "changed": True}

    def adopting_units(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"units": [self.foreign[host]] if host in self.foreign else []}

    def adopting_move(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        changed = host not in self.led
        self.led.add(host)
        return {"changed": changed}

    def adopting_front(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        path = args["path"] or "/etc/nginx/sites-enabled/shop"
        return {"path": path, "led": host in self.led, "diff": "-old\n+new\n", "backends": ["old"], "why": ""}

    def adopting_retire(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.retired.add(host)
        return {"retired": ["shop.service"], "busy": {}}

    def _reloaded(self, host: str, server: str, release: str) -> dict[str, Any]:
        """Its workers are replaced; a release that cannot be loaded is found before that."""
        self.reloaded.append(server)
        if (release, host) in self.bad:
            detail = {"restored": True, "serving": self.serving[server]}
            raise AgentError("check_failed", f"{release} cannot be loaded", detail=detail)
        others = self.topology.instances > 1
        self.harm += [f"{server} reloaded under {lb}" for lb in self.pools if others and self._is_ready(lb, server)]
        self.serving[server] = release
        self.pids[server] += 1
        return {"pids": [self.pids[server]], "seconds": 0.0, "changed": True}

    def _is_ready(self, lb: str, server: str) -> bool:
        return self.pools[lb][server].admin == "ready"

    def instance_stop(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        server = self._server(host, args["instance"])
        served = self.serving[server] is not None
        self.held.discard(server)
        self._stopped(server)
        return {"stopped": served}

    def instance_prove(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"slots": {str(one["port"]): self._proof(host, one, args) for one in args["instances"]}}

    def _proof(self, host: str, instance: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
        """Without a release in the request, the slot's own one is to be proven."""
        server = self._server(host, instance)
        release, wanted = self.serving[server], args["release"]
        if release is None:
            why = "nothing listens" if wanted else f"slot {instance['port']} is not in use"
        else:
            sick = (release, host) in self.sick or release != (wanted or release)
            why = "health check: 500" if sick else ""
        proof = {
            "proven": not why,
            "why": why,
            "pids": [self.pids[server]] if release else [],
            "release": release,
            "unseen": False,
        }
        measured = {"memory": 100 << 20 if release else 0, "age": 12.5 if release else 0.0}
        return {**proof, "instance": instance["index"], **(measured if args.get("measure") else {})}

    def logs_read(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        page = {"lines": [[1.0, "its last words"]], "cursor": {}, "more": False, "gap": False, "unread": 0}
        return {"now": 1.0, "logs": dict.fromkeys(args["logs"], page)}

    def resource_restore(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"changed": []}

    def secrets_restore(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.secrets[host] = "before"
        return {"changed": True}

    def secrets_settle(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.secrets[host] = "settled"
        return {"changed": True}

    def site_note_begin(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def site_note_end(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def site_promote(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        mine = {found for port in args["ports"] if (found := self.serving[self.topology.server(host, port)])}
        if mine - {args["release"]}:
            slots = {str(port): self.serving[self.topology.server(host, port)] for port in args["ports"]}
            raise AgentError("mixed", "current stays", detail={"slots": slots})
        previous, self.current[host] = self.current[host], args["release"]
        return {"current": args["release"], "previous": previous, "changed": previous != args["release"]}

    def _look(self) -> None:
        """Notes what users have now."""
        self.lowest = min(self.lowest, self.available)
        for pool in self.pools.values():
            ready = [server for server, slot in pool.items() if slot.admin == "ready"]
            self.shown |= {(server, found) for server in ready if (found := self._at(server))}

    def _server(self, host: str, instance: Mapping[str, Any]) -> str:
        return self.topology.server(host, instance["port"])

    def _stopped(self, server: str) -> None:
        """Stops what a slot serves, and notes the harm if a balancer still sends requests there."""
        if self.serving[server] is not None:
            self.harm += [
                f"{server} stopped under {lb}" for lb, pool in self.pools.items() if self._answers(pool, server)
            ]
            if not self.pools and server not in self.held:
                self.harm.append(f"{server} refused requests")
        self.harm += [
            f"{server} stopped while the watchdog of {lb} waits {bound:g} s"
            for lb, bound in self.bounds.items()
            if bound <= self.topology.longest_switch
        ]
        self.serving[server] = None
        self.pids[server] += 1
        self._look()

    def figures_read(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if self.figures is None:
            raise AgentError("no_figures", "nothing is kept here", hint="set it up")
        ready = [name for name, slot in self.pools[host].items() if slot.admin == "ready" and self.serving[name]]
        return {"servers": {name: self.figures(name, self.serving[name]) for name in ready}}

    # -- operations of balancers ------------------------------------------------------------------------------------

    def balancer_watch(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        back = [server for server in args.get("out", ()) if self.pools[host][server].admin == "ready"]
        if back:
            raise AgentError("not_out", f"the balancer sends requests to {', '.join(back)}")
        self.bounds[host] = args["bound"]
        return {"armed": "process"}

    def balancer_drain(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        for server in args["servers"]:
            slot = self.pools[host][server]
            if slot.by == "spare":
                continue
            slot.admin = "drain"
            slot.by = slot.by if slot.by not in (None, "run") else args["by"]
        drained = {"drained": True, "remaining": 0, "seconds": 0.0}
        return {"servers": {server: {**drained, "held": self._held(host, server)} for server in args["servers"]}}

    def _held(self, host: str, server: str) -> dict[str, Any] | None:
        """The record of who holds a server out."""
        by = self.pools[host][server].by
        about = {"by": by, "run": "run-0", "who": "me@here", "reason": "", "since": 1.0}
        return {**about, "at": self._address(server)} if by else None

    def _address(self, server: str) -> str:
        """Where a balancer has a server: as the inventory does, unless the script says otherwise."""
        return self.places.get(server) or self.topology.places.get(first_name(server), "192.0.2.250:8000")

    def balancer_admit(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        answers: dict[str, dict[str, Any]] = {}
        late = []
        for server, other in args["instead"].items():
            if self.pools[host][other].by == "person":
                self.pools[host][server] = Slot("drain", "person")
        for server, record in args["held"].items():
            self.pools[host][server] = Slot("drain", record["by"])
        for server in args["servers"]:
            slot = self.pools[host][server]
            if slot.by not in (None, "run", "spare") and not args["force"]:
                answers[server] = {"state": "DRAIN", "seconds": 0.0, "held": self._held(host, server)}
            elif self._at(server) is None:
                late.append(server)
            else:
                slot.admin, slot.by = "ready", None
                answers[server] = {"state": "UP", "seconds": 0.0, "held": None}
        if late:
            raise AgentError("not_up", f"{', '.join(late)} did not come up", detail={"late": late, "servers": answers})
        return {"servers": answers}

    def servers_ask(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """`picky` servers answer their own host alone."""
        return {"servers": {name: self._health_answer(name) for name in args["servers"]}}

    def _health_answer(self, server: str) -> dict[str, Any]:
        if self._at(server) is None:
            return {"ok": False, "status": None, "why": "Connection refused", "refused": True}
        ok = server not in self.picky
        return {"ok": ok, "status": 200 if ok else 403, "why": "" if ok else "403", "refused": False}

    def maintenance_state(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"maintenance": self.maintenance}

    def domains_request(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Every name answers 200, but for those of `answers`. `asked`: who asked for which name, and whether by TLS."""
        self.asked += [(host, name, args["tls"]) for name in args["names"]]
        answers = {name: self.answers.get(name, 200) for name in args["names"]}
        return {
            "names": {
                name: {"status": code, "why": "" if code else "refused", "location": self.locations.get(name, "")}
                for name, code in answers.items()
            }
        }

    def domains_connect(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"open": True, "why": ""}

    def balancer_retire(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.pools[host].update({server: Slot("maint", "spare") for server in args["servers"]})
        return {"servers": {server: {"state": "MAINT"} for server in args["servers"]}}

    # -- files, and the end of an app ---------------------------------------------------------------------------------

    def resource_apply(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Pools are as their file says; units, once gone, stay so."""
        paths = {each["path"]: each for each in args["resources"] if "path" in each}
        if not args["dry_run"]:
            self.applied.append((host, tuple(paths)))
            for each in paths.values():
                if each["kind"] == "file" and "/50-" in each["path"]:
                    self.pools[host] = {s: slot for s, slot in self.pools[host].items() if f" {s} " in each["content"]}
        return {"changed": [], "refused": [], "handlers": []}

    def belongings_remove(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        mine = [s for s, found in self.serving.items() if found and s.rpartition("-")[0] == host]
        if mine:
            raise AgentError("in_use", f"still used by {mine}")
        self.emptied.append(host)
        return {"kept": ["/srv/shop/shared"]}

    def balancer_state(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"servers": {server: self._server_state(host, server) for server in self.pools[host]}}

    def _server_state(self, host: str, server: str) -> dict[str, Any]:
        slot, answers = self.pools[host][server], self._at(server) is not None
        return {
            "state": {"ready": "UP" if answers else "DOWN", "drain": "DRAIN", "maint": "MAINT"}[slot.admin],
            "serves": slot.admin == "ready" and answers,
            "check": "L7OK" if answers else "L4CON",
            "sessions": 0,
            "address": self._address(server),
            "held": self._held(host, server),
        }


def label(process: Mapping[str, Any]) -> str:
    """`worker@1`."""
    return f"{process['name']}@{process['number']}"


@dataclass(frozen=True)
class Agent:
    """One host's session as a run uses it."""

    world: World
    host: str

    def call(self, operation: str, args: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return self.world.call(self.host, operation, args)

    @property
    def lost(self) -> SessionLost | None:
        gone = self.host in self.world.lost
        return SessionLost(f"the session with {self.host} was lost", host=self.host) if gone else None

    def fresh_for(self) -> float:
        return self.world.silent.get(self.host, 0.0)


class Rollout:
    """A plan that brings every instance of a world to `release`, wave by wave, and what came of it.

    `sizes` are the instances in each wave; one by one without. `checks` and `finish` are called as the rollout does.
    """

    def __init__(self, world: World, release: str = NEW, sizes: Sequence[int] = (), via: str = "push") -> None:
        self.world = world
        self.events: list[Event] = []
        self.stop = threading.Event()
        self.bus = Bus(self.events.append, run="run-1")
        self.record = Record(via, release=release, previous=world.release)
        self.invocation = Invocation(self.bus, self.record, self.stop)
        self.run = Run(world.topology, world, self.bus, self.record, "me@here", self.stop)  # type: ignore[arg-type]
        self.release = release
        self.via = via
        self.plan = _plan(world, release, sizes, via)
        self.checks: Callable[[Sequence[InstanceStep], str], None] = lambda steps, release: None
        self.judge: Checks = lambda steps, release: None
        self.finish: Hook = lambda: None
        self.reopen: Hook = lambda: None
        self.restored: Callable[[], Mapping[ProcessStep, DeployError]] = dict[ProcessStep, DeployError]
        self.error: DeployError | None = None

    def carry_out(self) -> Rollout:
        """Runs it to its end; `error` is what it raised."""
        try:
            Waves(
                self.run,
                self.plan,
                via=self.via,
                checks=lambda steps, name: self.checks(steps, name),
                judge=lambda steps, name: self.judge(steps, name),
                finish=self._end,
                reopen=lambda: self.reopen(),
                restored=lambda: self.restored(),
            ).carry_out()
        except DeployError as error:
            self.error = error
        return self

    def _end(self, carried: Plan) -> None:
        promote(self.run, self.release, carried.ports, via=self.via)
        self.finish()

    @property
    def exit(self) -> int:
        """The exit status that the command would have."""
        return self.record.finish(self.error).exit_status


def _plan(world: World, release: str, sizes: Sequence[int], via: str) -> Plan:
    """In the first slots, or with `strategy: bluegreen` from each slot that serves to the other one."""
    shape = world.topology
    strategy = shape.settings.rolling.strategy
    beside = strategy == "bluegreen"
    steps = []
    for web in shape.web:
        for index in range(len(web.ports)):
            first, spare = web.slots(index)
            used = spare if world.serving[shape.server(web.name, spare)] else first
            before = world.serving[shape.server(web.name, used)]
            if before and beside:
                steps.append(InstanceStep(web.name, index, web.other(used), "replace", before, used))
            else:
                action: Action = "reload" if strategy == "reload" else "restart"
                steps.append(InstanceStep(web.name, index, used, action if before else "start", before))
    steps.sort(key=lambda step: shape.server(step.host, step.port) not in world.out)
    waves = tuple(_cut(steps, sizes or [1] * len(steps)))
    used_now = {(step.host, step.leaves or step.port) for step in steps}
    every = [(web.name, port) for web in shape.web for port in (*web.ports, *web.spare_ports)]
    free = tuple(slot for slot in every if slot not in used_now)
    return Plan(via, "shop", "prod", release, world.release, "restart", "", waves, unused=free)


def _cut(steps: list[InstanceStep], sizes: Sequence[int]) -> Iterator[tuple[InstanceStep, ...]]:
    assert sum(sizes) == len(steps)
    rest = list(steps)
    for size in sizes:
        yield tuple(rest[:size])
        del rest[:size]
