"""The pools while instances come from one release to another: all that serves is in them, and asked what it can answer.

open()    before the first wave: servers that the settings no longer have stay, next to those that they have now
close()   after the last one: as the settings say, but for what stays on what it served before
reopen()  the way back of a run whose end failed: as for the waves, and who served is admitted again
"""

from __future__ import annotations

from contextlib import suppress

from deployer.agent.provisioning.snapshot import POOLS
from deployer.balancers.base import first_name, port_in, second_name
from deployer.errors import DeployError
from deployer.plan.facts import Facts
from deployer.plan.model import Plan
from deployer.plan.rolling.slots import Standing, leaving, left_out, seconds, standing
from deployer.rollout.pools.health_change import as_served, require_passed
from deployer.rollout.pools.pools import Pools
from deployer.rollout.run.run import Run
from deployer.rollout.steps import resources


class PoolTransition:
    """One run's pools. `applies`: whether it changes them at all; else nothing here does anything.

    `target`: how the release that is wanted is asked for its health (`Topology.health_check_digest`), where that is
    not as today's settings say: an earlier release goes on being asked leniently. `lenient`: hosts that the run leaves
    out are so now.
    `units`: the hosts' units are to be as the settings say, too.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        facts: Facts,
        *,
        applies: bool,
        target: str = "",
        lenient: bool = False,
        units: bool = True,
    ) -> None:
        self._run = run
        self._plan = plan
        self.applies = applies
        self._target = target or run.topology.health_check_digest
        self._units = units
        self._left_out = lenient
        self._lenient = lenient or (
            applies and {*facts.health_check_digests(), self._target} != {run.topology.health_check_digest}
        )
        self._former = leaving(run.topology, facts) if applies else {}
        self._seconds = seconds(run.topology, facts) if applies else {}
        self._before = standing(run.topology, facts) if applies else Standing()
        self._left = left_out(run.topology, facts) if applies else Standing()
        self._served = facts.in_use()
        self._closed = False
        self._facts = facts

    def open(self) -> None:
        """The pools for the waves, and the hosts' units as they are to be."""
        if not self.applies:
            self._apply(self._lenient, Standing())
            return
        firsts = {first_name(name) for name in self._seconds}
        if self._closed:  # they have other addresses already, and go back from there
            others = {second_name(name): self._before.known[name] for name in firsts}
            self._apply(self._lenient, Standing({**self._former, **self._left.others, **others}, self._left.known))
            return
        known = {name: at for name, at in self._before.known.items() if name in firsts}
        others = {**self._former, **self._left.others, **self._seconds}
        self._apply(self._lenient, Standing(others, {**self._left.known, **known}))
        self._bring_in()

    def close(self, done: Plan) -> None:
        """The pools for what serves now that the plan was carried out as `done`: its `surplus` is what was stopped."""
        if not self.applies:
            return
        run, shape = self._run, self._run.topology
        goes_on = {shape.server(step.host, step.port) for step in self._plan.surplus if step not in done.surplus}
        surplus = {name: self._former[name] for name in goes_on & set(self._former)}
        left, behind = self._left, self._before.of(run.behind)
        second = Standing(self._seconds).of(run.behind).others
        stay = Standing({**surplus, **left.others, **second}, {**left.known, **behind.known})
        earlier = bool(run.behind or shape.leaves_some_out) or self._target != shape.health_check_digest
        lenient = self._left_out or (self._lenient and earlier)
        if self._lenient and not lenient:
            names = [shape.server(step.host, step.port) for step in (*done.steps, *done.kept)]
            require_passed(run, {name: shape.places[name] for name in names})
        self._closed = True
        self._apply(lenient, stay)

    def reopen(self) -> None:
        """The pools as for the waves. Servers of hosts that the inventory no longer has serve again as they did.

        Those of the run's own hosts are for whoever brings their instances back.
        """
        if not self.applies:
            return
        self.open()
        mine = [web.name for web in self._run.topology.web]
        gone = [name for name in self._former if all(port_in(name, host) is None for host in mine)]
        Pools(self._run).admit_servers([name for name in gone if name in self._served])

    def _bring_in(self) -> None:
        """Servers at another address get no requests before their wave, but where nobody gets any at the one before."""
        if not self._seconds:
            return
        pools = Pools(self._run)
        states = pools.states(judged=True)
        server_states = [pair for servers in states.values() for pair in servers.items()]
        fresh = {name for name, state in server_states if name in self._seconds and state["state"] == "MAINT"}
        pools.retire_servers(sorted(fresh))
        serving = {first_name(name) for name, state in server_states if state["serves"]}
        held = {name for name, state in server_states if state.get("held")}
        proven = {
            self._run.topology.server(web.name, instance.port)
            for web in self._run.topology.web
            for instance in self._facts[web.name].serving.values()
            if instance.proven
        }
        for name in sorted(fresh):
            if first_name(name) in proven - serving - held:
                with suppress(DeployError):
                    pools.admit_servers([name])

    def _apply(self, lenient: bool, pools: Standing) -> None:
        with self._run.step("resources") as note:
            # What serves is asked as it has passed until now; what is new is proven by its own host.
            shape = as_served(self._run.topology, self._facts) if lenient else self._run.topology
            wishes = resources.for_push(shape, lenient=lenient, pools=pools, keep=self._run.id)
            behind = self._run.behind  # what stayed there went back to the units of before
            wishes = [wish for wish in wishes if wish.part == POOLS or (self._units and wish.host not in behind)]
            note.detail = f"{len(resources.apply(self._run, wishes))} changes"
