"""The app's servers at every balancer: taken out, put back, looked at. All balancers are told, or it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from deployer.agent.model.endpoints import place
from deployer.agent.model.messages import balancer as wire
from deployer.balancers.base import first_name
from deployer.errors import DeployError, RolloutError
from deployer.plan.model import InstanceStep
from deployer.remote.errors import AgentError
from deployer.rollout.pools.addresses import Addresses
from deployer.rollout.run.run import Run

Slot = tuple[str, int]
"""A host and the port of one of its slots: what a balancer calls a server."""

FRESH_S = 3.5
"""A balancer's agent has to have been heard of within this many seconds before an instance is stopped."""

JUDGED_S = 10.0
"""The most that a balancer may take to check its servers after a reload: its interval, and the longest check."""

QUIET_S = 5.0
"""How long a watchdog waits for its agent while no instance is being stopped or started."""

LATE_S = 10.0
"""The most that a host may begin a switch after a balancer's agent was last alive: `FRESH_S`, and a slow link."""


class Pools:
    """The balancers of a run. Without balancers every call is a quick no."""

    def __init__(self, run: Run, surplus: Sequence[InstanceStep] = ()) -> None:
        """`surplus` are slots that the settings no longer have, and the balancers still do."""
        self._run = run
        former = {} if run.topology.configures_pools else _places(run, surplus)
        self._drivers = {
            balancer.name: run.topology.balancer_adapter.driver(run.topology.pool(balancer, former))
            for balancer in run.topology.balancers
        }
        self._watched = False
        self._unanswered = False
        self._held: dict[str, wire.HeldRecord] = {}
        self._known: set[str] = set()
        self._names_before: dict[str, list[str]] = {}
        self._wanted = run.topology.places
        self._addresses = Addresses()
        self._before: dict[str, str] = {}

    def remember(self) -> None:
        """How it is as the run begins: what the balancers know, and by which names.

        Who is held out by a person or a quarantine is held out so again where it goes back (`admit_again`). A host that
        has another name now is one place with two of them, and is taken out by both. A slot that the balancers know at
        two addresses is two servers: the one at the inventory's address comes in, the other one is where it goes back.
        """
        if self._run.balancers:
            states = self.states()
            self._known = set.intersection(*(set(servers) for servers in states.values()))
            server_states = [pair for servers in states.values() for pair in servers.items()]
            places = {name: at for name, state in server_states if (at := state.get("address"))}
            wanted = set(self._wanted)
            for name in wanted & set(places):
                others = [
                    other for other, at in places.items() if at == places[name] and first_name(other) not in wanted
                ]
                self._names_before[name] = sorted(others)
            records = {name: held for name, state in server_states if (held := state["held"])}
            self._held = {name: record for name, record in records.items() if record["by"] in ("person", "quarantine")}
            self._addresses = Addresses(server_states, wanted)
            up = [name for name, state in server_states if state["serves"]]
            used = [name for name in places if name not in records or records[name]["by"] != "spare"]
            for name in (*up, *used):
                self._before.setdefault(first_name(name), places.get(name, ""))

    def learn(self) -> None:
        """The names by which the balancers know the slots now, after the pools have changed."""
        if self._run.balancers:
            server_states = [pair for servers in self.states().values() for pair in servers.items()]
            self._addresses = Addresses(server_states, set(self._wanted))

    def watch(self) -> None:
        """Arms the watchdog on every balancer host, once a run, before anything is drained."""
        if self._watched or not self._run.balancers:
            return
        self._run.run_on_hosts(self._run.balancers, wire.WATCH, self._watch_for(QUIET_S), step="watch")
        self._watched = True

    def expect_stops(self, slots: Sequence[Slot]) -> None:
        """Every watchdog now waits until one instance a host is switched, or back, and has `slots` still out.

        DeployError when a balancer could not be told, or sends requests to one of `slots`: nothing may be stopped then.
        A host begins the next of its instances only when every balancer was heard of, so one switch is what counts.
        """
        if self._watched and self._run.balancers:
            bound = self._run.topology.longest_switch + LATE_S
            request = self._watch_for(bound, self.names(slots))
            self._run.run_on_hosts(self._run.balancers, wire.WATCH, request, step="switch")

    def expect_none(self, failures: Iterable[DeployError]) -> None:
        """Nothing is being switched any more, as far as `failures` tell: a host that was lost may still be at it.

        A balancer that cannot be told keeps the longer bound.
        """
        self._unanswered |= any(not isinstance(error, AgentError) for error in failures)
        if self._watched and not self._unanswered:
            self._run.try_on_hosts(self._run.balancers, wire.WATCH, self._watch_for(QUIET_S), step="switch")

    def leaving(self, steps: Sequence[InstanceStep]) -> list[Slot]:
        """The slots that get no requests while their instances change in place."""
        drains = self._run.topology.drains
        return [(step.host, step.port) for step in steps if step.before and drains(step.action)]

    def drain(self, slots: Sequence[Slot], *, by: str = "run", reason: str = "") -> None:
        """Takes slots out everywhere and waits until their requests are done or time is up."""
        if not slots or not self._run.balancers:
            return
        self.watch()
        timeout = self._run.topology.settings.rolling.drain_timeout
        reason = reason or f"run {self._run.id} changes it"
        with self._run.step("drain", instance=self._describe(slots)) as note:
            answers = self._drain(self.names(slots), by=by, reason=reason)
            left = sum(server["remaining"] for answer in answers.values() for server in answer["servers"].values())
            if left:
                note.detail = f"{left} connections outlived {timeout:g} s"

    def admit(self, slots: Sequence[Slot], *, instead: Mapping[Slot, Slot] | None = None) -> None:
        """Puts slots back everywhere and waits for each balancer's own UP.

        They are proven, so a quarantine ends here. What a person took out stays out, and is said; `instead` says whose
        place a slot takes, since a person means the instance, whichever slot it serves in. A slot comes in at the
        inventory's address; once it serves there, it leaves the one that it had.
        """
        if not slots or not self._run.balancers:
            return
        entering = {slot: self._entering(slot) for slot in slots}
        places = {slot: (instead or {}).get(slot, slot) for slot in slots}
        named = {entering[slot]: self._returning(other) for slot, other in places.items()}
        named = {name: other for name, other in named.items() if name != other}
        with self._run.step("admit", instance=self._describe(slots)) as note:
            held = self._admitted(list(entering.values()), named, force=False)
            quarantined = [name for name, record in held.items() if record["by"] == "quarantine"]
            if quarantined:
                self._admitted(quarantined, force=True)
            others = sorted(set(held) - set(quarantined))
            if others:
                note.detail = f"left out, as a person asked: {', '.join(others)}"
        self._leave(entering)

    def admit_again(self, slots: Sequence[Slot], *, instead: Mapping[Slot, Slot] | None = None) -> None:
        """On the way back: as `admit`, but who was held out before the run is held out by the same again.

        What it serves now nobody has proven in this run: a quarantine goes on.
        """
        if not slots or not self._run.balancers:
            return
        returning = {slot: self._returning(slot) for slot in slots}
        names = [server for name in returning.values() for server in (name, *self._names_before.get(name, ()))]
        held = {name: self._held[name] for name in names if name in self._held}
        named = {self._returning(slot): self._entering(other) for slot, other in (instead or {}).items()}
        with self._run.step("admit", instance=self._describe(slots)) as note:
            out = self._admitted(names, named, held=held, force=False)
            if out:
                note.detail = f"left out, as before the run: {', '.join(sorted(out))}"
        self._leave(returning)

    def admit_servers(self, names: Sequence[str]) -> None:
        """Puts servers back that only the balancers know: of hosts that are in no inventory any more."""
        if names and self._run.balancers:
            self._admitted(list(names), force=False)

    def retire_servers(self, names: Sequence[str]) -> None:
        """As `retire`, by the balancers' own names."""
        if names and self._run.balancers:
            self._retire(list(names))

    def admit_by_hand(self, slots: Sequence[Slot], *, force: bool) -> dict[str, str]:
        """Puts back what a person took out. Returns what stays out, and why; with `force`, nothing does."""
        held = self._admitted([self._returning(slot) for slot in slots], by="person", force=force)
        return {name: str(record.get("reason")) for name, record in held.items()}

    def there(self, slots: Sequence[Slot]) -> list[Slot]:
        """Those that every balancer knew as the run began: a pool of somebody else's may have no second slots."""
        return [slot for slot in slots if self.name(slot) in self._known]

    def retire(self, slots: Sequence[Slot]) -> None:
        """Slots that no instance serves in: kept out of every pool until one does."""
        if slots and self._run.balancers:
            self._retire(self.names(slots))

    def _admitted(
        self,
        servers: list[str],
        instead: Mapping[str, str] | None = None,
        *,
        held: Mapping[str, wire.HeldRecord] | None = None,
        by: str = "run",
        force: bool,
    ) -> dict[str, wire.HeldRecord]:
        """Admits at every balancer; returns the servers that are still held out, with the record that says why."""
        wait = self._run.topology.settings.health.within
        answers = self._run.run_on_hosts(
            self._run.balancers,
            wire.ADMIT,
            lambda host: wire.Admit(
                site=self._run.site(host),
                driver=self._drivers[host],
                run=self._run.id,
                servers=servers,
                wait=wait,
                by=by,
                force=force,
                instead=dict(instead or {}),
                held=dict(held or {}),
            ),
            step="admit",
        )
        return {
            name: record
            for answer in answers.values()
            for name, state in answer["servers"].items()
            if (record := state["held"])
        }

    def recover(self) -> list[str]:
        """What dead runs left drained is admitted. Call only under the lock. Returns the servers' names."""
        if not self._run.balancers:
            return []
        answers = self._run.run_on_hosts(
            self._run.balancers,
            wire.RECOVER,
            lambda host: wire.Recover(site=self._run.site(host), driver=self._drivers[host], run=self._run.id),
            step="balancer",
        )
        return sorted({name for answer in answers.values() for name in answer["admitted"]})

    def states(self, *, judged: bool = False) -> dict[str, dict[str, wire.ServerState]]:
        """Every balancer's view of this app's servers: balancer → server → state.

        `judged`: once it has checked those that are to serve, which right after a reload takes it a moment.
        """
        request = self._look(JUDGED_S if judged else 0.0)
        answers = self._run.run_on_hosts(self._run.balancers, wire.STATE, request, step="state")
        return {host: answer["servers"] for host, answer in answers.items()}

    def configured_states(self) -> dict[str, dict[str, wire.ServerState]]:
        """`states`; of a balancer that does not answer, the servers that its configuration has."""
        answers = self._run.run_on_hosts(self._run.balancers, wire.STATE, self._look(configured=True), step="state")
        return {host: answer["servers"] for host, answer in answers.items()}

    def elsewhere(self, servers: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """Balancer → server → the earlier places to which it still sends requests. Only in pools of somebody else's."""
        if not servers:
            return {}
        answers = self._run.run_on_hosts(
            self._run.balancers,
            wire.ELSEWHERE,
            lambda host: wire.LookElsewhere(
                site=self._run.site(host), driver=self._drivers[host], servers=list(servers)
            ),
            step="state",
        )
        return {host: answer["servers"] for host, answer in answers.items()}

    def states_of_answering(self) -> tuple[dict[str, dict[str, wire.ServerState]], dict[str, DeployError]]:
        """`states` of the balancers that answer, and the errors of those that do not."""
        answers, failures = self._run.try_on_hosts(self._run.balancers, wire.STATE, self._look(), step="state")
        return {host: answer["servers"] for host, answer in answers.items()}, failures

    def drained(self, slots: Sequence[Slot]) -> list[Slot]:
        """Those that some run has drained, and nobody retired since."""
        if not slots or not self._run.balancers:
            return []
        pairs = [pair for servers in self.states().values() for pair in servers.items()]
        names = {name for name, state in pairs if (held := state["held"]) and held["by"] == "run"}
        return [slot for slot in slots if names & set(self.names([slot]))]

    def only(self, slots: Sequence[Slot]) -> str:
        """The first balancer at which somebody serves, and none but these slots; empty where there is none such."""
        names = set(self.names(slots))
        for balancer, servers in self.states().items() if slots else ():
            up = {name for name, state in servers.items() if state["serves"]}
            if up and up <= names:
                return balancer
        return ""

    def known(self) -> set[str]:
        """The servers that every balancer knows."""
        sets = [set(servers) for servers in self.states().values()]
        return set.intersection(*sets) if sets else set()

    def require_fresh(self) -> None:
        """RolloutError unless every balancer's agent was heard of a moment ago: only then may an instance stop."""
        for balancer in self._run.balancers:
            silent = self._run.fleet[balancer].fresh_for()
            if silent > FRESH_S:
                raise RolloutError(
                    f"the balancer host was not heard of for {silent:.1f} s, so nothing is stopped",
                    host=balancer,
                    step="switch",
                    hint="check the connection to it, then type deploy push {env}",
                )

    def names(self, slots: Sequence[Slot]) -> list[str]:
        """What the balancers call the slots, now and as the run began, at every address."""
        names = [server for slot in slots for server in self._addresses.names(self.name(slot))]
        return [server for name in names for server in (name, *self._names_before.get(name, ()))]

    def _entering(self, slot: Slot) -> str:
        """The slot's server at the inventory's address."""
        name = self.name(slot)
        return self._addresses.at(name, self._wanted.get(name, ""))

    def _returning(self, slot: Slot) -> str:
        """The slot's server at the address at which it served as the run began."""
        name = self.name(slot)
        return self._addresses.at(name, self._before.get(name, ""))

    def _leave(self, kept: Mapping[Slot, str]) -> None:
        """The other servers of slots, at other addresses: requests under way end, and no more come."""
        others = [
            other for slot, name in kept.items() for other in self._addresses.names(self.name(slot)) if other != name
        ]
        if others:
            self.watch()
            self._drain(others, by="run", reason=f"run {self._run.id} uses another address")
            self._retire(others)

    def own(self, server: str) -> str:
        """The name of today of a server that the balancers may know by another one."""
        return next((name for name, before in self._names_before.items() if server in before), server)

    def name(self, slot: Slot) -> str:
        """What the balancers call a slot."""
        return self._run.topology.server(*slot)

    def _describe(self, slots: Sequence[Slot]) -> str:
        """The instances' names, `web1:0`, as every event has them."""
        shape = self._run.topology
        return ", ".join(dict.fromkeys(f"{host}:{shape.web_host(host).index_of(port)}" for host, port in slots))

    def _drain(self, servers: list[str], *, by: str, reason: str) -> dict[str, wire.Drained]:
        return self._run.run_on_hosts(
            self._run.balancers,
            wire.DRAIN,
            lambda host: wire.Drain(
                site=self._run.site(host),
                driver=self._drivers[host],
                run=self._run.id,
                servers=servers,
                timeout=self._run.topology.settings.rolling.drain_timeout,
                by=by,
                reason=reason,
            ),
            step="drain",
        )

    def _retire(self, servers: list[str]) -> None:
        self._run.run_on_hosts(
            self._run.balancers,
            wire.RETIRE,
            lambda host: wire.TakeOutOfUse(
                site=self._run.site(host), driver=self._drivers[host], run=self._run.id, servers=servers
            ),
            step="retire",
        )

    def _watch_for(self, bound: float, out: list[str] | None = None) -> Callable[[str], wire.Watch]:
        return lambda host: wire.Watch(
            site=self._run.site(host), driver=self._drivers[host], run=self._run.id, bound=bound, out=out or []
        )

    def _look(self, judged_within: float = 0.0, *, configured: bool = False) -> Callable[[str], wire.LookAtPool]:
        return lambda host: wire.LookAtPool(
            site=self._run.site(host),
            driver=self._drivers[host],
            judged_within=judged_within,
            configured=configured,
        )


def _places(run: Run, steps: Sequence[InstanceStep]) -> dict[str, str]:
    """Server → `ADDRESS:PORT` of slots, for balancers that are told of every server where it is."""
    shape, places = run.topology, {}
    for step in steps:
        web = shape.web_host(step.host)
        at = web.site.sockets if step.bind == "unix" else web.own.address
        places[shape.server(step.host, step.port)] = place(at, step.port)
    return places
