"""Two ordinary things at once, in all of a push but its source: files, waves, `current`, the fleet's checks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, Slot, World
from support.facts import bare_host, facts, host, release
from support.topologies import topology

from deployer.errors import ChecksError, DeployError, FrozenError
from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease
from deployer.plan.facts import Facts, HostFacts
from deployer.plan.model import FileChange
from deployer.plan.rolling.slots import surplus
from deployer.plan.topology import Topology
from deployer.remote.errors import AgentError
from deployer.rollout.commands import push, rollback
from deployer.rollout.pools.health_change import as_served, require_passed
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling.waves import Waves
from deployer.rollout.steps import resources, secrets
from deployer.rollout.steps.instances import Instances


class Filed(World):
    """Pools are as their files say. A server that a file adds is in maintenance until it is admitted, where others of
    the pool were there before (`reload_tool.carried_over`). What files were is kept, and put back.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kept: dict[str, list[str]] = {}
        self.units: set[str] = set()
        self.files: dict[str, str] = {}

    @property
    def available(self) -> int:
        """Instances that serve and that every balancer sends requests to; one that a pool lacks gets none."""
        return sum(
            found is not None and all(server in pool and pool[server].admin == "ready" for pool in self.pools.values())
            for server, found in self.serving.items()
        )

    def resource_apply(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if args["dry_run"]:
            return {"changed": [], "refused": [], "handlers": []}
        for each in args["resources"]:
            if each["kind"] == "file" and "/50-" in each.get("path", ""):
                self.kept.setdefault(host, list(self.pools[host]))
                self.files[host] = each["content"]
                lines = [line.split() for line in each["content"].splitlines() if line.strip().startswith("server ")]
                self._pool(host, [words[1] for words in lines])
            if each["kind"] == "file" and each["path"].endswith("@.service"):
                self.units.add(host)
        return {"changed": [], "refused": [], "handlers": []}

    def _pool(self, host: str, names: list[str]) -> None:
        before = self.pools[host]
        fresh = "maint" if any(name in before for name in names) else "ready"
        self.pools[host] = {name: before.get(name) or Slot(fresh) for name in names}
        self.serving = {**dict.fromkeys(names), **self.serving}
        self.pids = {**dict.fromkeys(names, 100), **self.pids}

    def resource_restore(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if host in self.kept and "pools" in args["parts"]:
            self._pool(host, self.kept.pop(host))
        if "units" in args["parts"]:
            self.units.discard(host)
        return {"changed": []}

    def resource_settle(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.kept.pop(host, None)
        return {"changed": False}

    def balancer_retire(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(args["servers"]) - set(self.pools[host]))
        if unknown:  # deployer/agent/balancer/operations.py: `problem = missing(servers, wanted)`
            raise AgentError("unknown_server", f"the balancer does not know {', '.join(unknown)}")
        return super().balancer_retire(host, args)


def serve(fleet: World, *servers: str) -> None:
    """From now on these serve OLD, they alone, and every pool has them alone."""
    fleet.serving = {**dict.fromkeys(fleet.serving), **dict.fromkeys(servers, OLD)}
    fleet.pids |= dict.fromkeys(servers, 100)
    fleet.pools = {lb: {server: Slot() for server in servers} for lb in fleet.pools}
    fleet.lowest = fleet.available


def pools_of(fleet: World, addresses: Mapping[str, str]) -> dict[str, Any]:
    """What `balancer.state` tells before the run."""
    return {
        lb: {
            server: {
                "state": "UP" if slot.admin == "ready" else "MAINT",
                "serves": slot.admin == "ready" and fleet.serving.get(server) is not None,
                "check": "",
                "held": {"by": slot.by} if slot.by else None,
                "address": addresses[server],
            }
            for server, slot in pool.items()
        }
        for lb, pool in fleet.pools.items()
    }


def pushed(
    monkeypatch: pytest.MonkeyPatch,
    fleet: World,
    shape: Topology,
    found: Facts,
    *,
    unwell: bool = False,
    lenient: bool = False,
) -> Rollout:
    """`deploy push` of NEW, which is built already, from its plan on."""

    def fleet_checks(*_: Any) -> None:
        if unwell:
            raise ChecksError("the fleet is not as it should be", step="checks")

    rollout = Rollout(fleet)
    rollout.run.topology = shape
    changes = [FileChange(lb.name, "file", "50-shop-prod.cfg", "change") for lb in shape.balancers]
    rollout.plan = make_plan(DesiredRelease("push", NEW), shape, found, changes=changes)

    def roll(run: Any, project: Any, plan: Any, facts: Any, *, via: str, finish: Any, reopen: Any) -> None:
        Waves(run, plan, via=via, checks=lambda steps, release: None, finish=finish, reopen=reopen).carry_out()

    monkeypatch.setattr(push, "roll", roll)
    monkeypatch.setattr(push, "fleet_checks", fleet_checks)
    monkeypatch.setattr(push, "prune", lambda *_: None)
    ready = SimpleNamespace(project=None, plan=rollout.plan, facts=found, lenient=lenient)
    try:
        with resources.put_back_on_failure(rollout.run):
            push._carry_out(rollout.run, ready, {}, ("release",))  # type: ignore[arg-type]
    except DeployError as error:
        rollout.error = error
    return rollout


def balancers(shape: Topology) -> list[HostFacts]:
    return [bare_host(each.name) for each in shape.balancers]


# -- hosts that take the place of others -----------------------------------------------------------------------------


def test_all_hosts_are_others_and_those_of_before_serve_until_the_new_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app moves to new machines: web3 and web4 are in the inventory in place of web1 and web2, and were set up."""
    every = topology(4, 1, rolling={"soak": 0})
    shape = replace(every, web=every.web[2:])
    fleet = Filed(every)
    serve(fleet, "web1-8000", "web2-8000")
    for pool in fleet.pools.values():  # as `deploy setup` left it: those of before stay until a push
        pool |= {f"web{n}-{port}": Slot("maint") for n in (3, 4) for port in (8000, 8500)}
    places = {f"web{n}-{port}": f"192.0.2.{n}:{port}" for n in (1, 2, 3, 4) for port in (8000, 8500)}
    webs = [host(name, [NEW]) for name in ("web3", "web4")]
    found = Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places))
    at_first: list[int] = []
    fleet.on("instance.switch", "web3", lambda: at_first.append(fleet.available))
    pushed(monkeypatch, fleet, shape, found)
    assert at_first == [2], "so many serve users as the first new instance is started"


def test_a_host_less_and_a_fleet_that_fails_its_checks_has_the_host_again(monkeypatch: pytest.MonkeyPatch) -> None:
    every = topology(3, 1, rolling={"soak": 0})
    shape = replace(every, web=every.web[:2])
    fleet = Filed(every)
    serve(fleet, "web1-8000", "web2-8000", "web3-8000")
    for pool in fleet.pools.values():
        pool |= {f"web{n}-8500": Slot("maint", "spare") for n in (1, 2, 3)}
    places = {f"web{n}-{port}": f"192.0.2.{n}:{port}" for n in (1, 2, 3) for port in (8000, 8500)}
    webs = [host(name, [OLD, NEW], current=OLD, slots={"8000": OLD}) for name in ("web1", "web2")]
    found = Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places))
    rollout = pushed(monkeypatch, fleet, shape, found, unwell=True)
    assert rollout.exit == 5 and fleet.busy == {f"web{n}-8000": OLD for n in (1, 2, 3)}
    assert fleet.pools["lb1"]["web3-8000"].admin == "ready", "all was put back, and nothing stays out without a reason"


class Renamed(Filed):
    """web1 and web2 are called app1 and app2 now: two names for one place each."""

    def balancer_state(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        found = super().balancer_state(host, args)["servers"]
        return {"servers": {name: {**state, "address": name[3:]} for name, state in found.items()}}

    def _stopped(self, server: str) -> None:
        former = server.replace("app", "web")
        if self.serving[server] is not None and former != server:
            ready = [lb for lb, pool in self.pools.items() if former in pool and pool[former].admin == "ready"]
            self.harm += [f"{server} stopped while {lb} sends requests there as {former}" for lb in ready]
        super()._stopped(server)


def test_a_host_has_another_name_and_is_drained_by_both_before_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    every = topology(3, 1, rolling={"soak": 0})
    web = tuple(replace(each, host=replace(each.host, name=each.name.replace("web", "app"))) for each in every.web)
    shape = replace(every, web=web)
    fleet = Renamed(shape)
    places = {f"web{n}-8000": f"192.0.2.{n}:8000" for n in (1, 2, 3)}
    serve(fleet, *(f"app{n}-8000" for n in (1, 2, 3)))
    fleet.serving |= {f"web{n}-8000": OLD for n in (1, 2, 3)}
    fleet.pids |= {f"web{n}-8000": 100 for n in (1, 2, 3)}
    fleet.pools = {"lb1": {f"web{n}-8000": Slot() for n in (1, 2, 3)}}
    webs = [host(each.name, [OLD, NEW], current=OLD, slots={"8000": OLD}) for each in web]
    found = Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places))
    pushed(monkeypatch, fleet, shape, found)
    assert [line for line in fleet.harm if "sends requests there as" in line] == []


# -- changed ports, and a limit --------------------------------------------------------------------------------------


def test_changed_ports_and_a_limit_leave_the_others_in_the_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    every = topology(3, 1, rolling={"soak": 0}, port=9000)
    shape = replace(every, web=every.web[:1], spared=every.web[1:])
    fleet = Filed(every)
    serve(fleet, *(f"web{n}-8000" for n in (1, 2, 3)))
    places = {f"web{n}-8000": f"192.0.2.{n}:8000" for n in (1, 2, 3)}
    webs = [host("web1", [OLD, NEW], current=OLD, serving=[], slots={"8000": OLD})]
    found = Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places))
    rollout = pushed(monkeypatch, fleet, shape, found)
    assert rollout.error is None and fleet.busy == {"web1-9000": NEW, "web2-8000": OLD, "web3-8000": OLD}
    assert {"web2-8000", "web3-8000"} <= set(fleet.pools["lb1"]), "web2 and web3 serve, and no balancer knows them"


# -- other units, and an instance that does not start with them ------------------------------------------------------


class Limited(Filed):
    """Whatever starts with the units of the run is killed, as with `unit: {MemoryMax: 20M}`."""

    def instance_switch(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.bad = {(each, unit) for each in (OLD, NEW) for unit in self.units}
        if (args["release"], host) in self.bad and args["previous"]:
            self.units.discard(host)  # the agent puts them back before it starts what was there before
            self.bad.discard((args["previous"], host))
        return super().instance_switch(host, args)


@pytest.mark.parametrize(("web", "lbs"), [(3, 1), (1, 0)], ids=["behind-a-balancer", "one-host-alone"])
def test_units_with_which_nothing_starts_go_back_with_the_instance(
    monkeypatch: pytest.MonkeyPatch, web: int, lbs: int
) -> None:
    shape = topology(web, lbs, rolling={"soak": 0, "strategy": "restart"}, unit={"MemoryMax": "20M"})
    fleet = Limited(shape)
    for pool in fleet.pools.values():
        pool |= {f"web{n}-8500": Slot("maint", "spare") for n in range(1, web + 1)}
    names = [each.name for each in shape.web]
    places = {f"web{n}-{port}": f"192.0.2.{n}:{port}" for n in range(1, web + 1) for port in (8000, 8500)}
    webs = [host(name, [OLD, NEW], current=OLD, slots={"8000": OLD}) for name in names]
    found = Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places))
    rollout = pushed(monkeypatch, fleet, shape, found)
    assert fleet.busy == {f"{name}-8000": OLD for name in names}, f"exit {rollout.exit}: {rollout.error}"
    assert fleet.units == set(), "units are as before the run"


def through_a_rollback(monkeypatch: pytest.MonkeyPatch, rollout: Rollout, found: Facts) -> None:
    """`rollback.bring` finds these facts, in a run that is open and has the lock."""

    @contextlib.contextmanager
    def opened(*_: Any, **__: Any) -> Any:
        yield rollout.run

    @contextlib.contextmanager
    def locked(*_: Any, **__: Any) -> Any:
        yield

    monkeypatch.setattr(rollback, "with_certificate", lambda project: project)
    monkeypatch.setattr(rollback, "open_run", opened)
    monkeypatch.setattr(rollback, "lock_site", locked)
    monkeypatch.setattr(rollback, "look_first", lambda run: found)
    monkeypatch.setattr(rollback, "survey", lambda run: found)
    monkeypatch.setattr(rollback, "with_pools", lambda run, facts: facts)
    monkeypatch.setattr(rollback, "resumed_release", lambda run, facts: NEW)
    monkeypatch.setattr(rollback, "judged_end", lambda run, before: contextlib.nullcontext())
    monkeypatch.setattr(secrets, "differing", lambda run, values: [])
    monkeypatch.setattr(Pools, "recover", lambda self: [])
    monkeypatch.setattr(rollback, "_commit_of", lambda project, wanted: wanted)


# -- a freeze, and a push of what is there already -------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"resume": True}, {"release": NEW}], ids=["resume", "release"])
def test_frozen_and_a_push_of_what_is_there_already_is_refused(
    monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    shape = topology(2, 1, rolling={"soak": 0})
    rollout = Rollout(World(shape))
    note = {"who": "me@here", "reason": "the last one broke the shop", "since": 0.0}
    webs = [host(name, [OLD, NEW], current=OLD, frozen=note) for name in ("web1", "web2")]
    found = facts(*webs, bare_host("lb1", frozen=note))
    rolled: list[str] = []
    through_a_rollback(monkeypatch, rollout, found)
    monkeypatch.setattr(rollback, "roll", lambda run, project, plan, **_: rolled.append(plan.release))
    project: Any = SimpleNamespace(topology=shape, env="prod", base=Path("/nonexistent"), secrets=dict, who="me@here")
    project.reached_by = lambda topology: project
    monkeypatch.setattr(push, "with_certificate", lambda project: project)
    with pytest.raises(FrozenError):
        push.push(project, rollout.invocation, **how)
    assert rolled == []


# -- changed bind, and a fleet that fails its checks -----------------------------------------------------------------


def test_changed_bind_and_what_listens_at_a_port_of_before_is_looked_for_there() -> None:
    """The way back of the ports of before (`Back.again`) asks for OLD's health where NEW listens."""
    shape = topology(1, 1, kind="nginx", bind="unix", port=9000)
    found = facts(host("web1", [OLD, NEW], current=OLD, serving=[], slots={"8000": OLD}))
    (step,) = surplus(shape, found)
    rollout = Rollout(World(shape))
    wire = Instances(rollout.run, Pools(rollout.run))._wire(step)
    assert (wire["address"], wire["port"]) == ("127.0.0.1", 8000)


# -- manage: false, and a pool that has no spare slots ---------------------------------------------------------------


def test_a_pool_of_somebody_else_without_spare_slots_takes_a_push_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = topology(3, 1, rolling={"soak": 0}, balancer={"manage": False, "backend": "theirs"})
    fleet = Filed(shape)
    serve(fleet, *(f"web{n}-8000" for n in (1, 2, 3)))
    places = {f"web{n}-8000": f"192.0.2.{n}:8000" for n in (1, 2, 3)}
    webs = [host(each.name, [OLD, NEW], current=OLD, slots={"8000": OLD}) for each in shape.web]
    found = Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places))
    rollout = pushed(monkeypatch, fleet, shape, found)
    assert rollout.error is None, rollout.error


# -- a renamed process, and a rollback -------------------------------------------------------------------------------


def test_a_renamed_process_and_a_rollback_says_what_its_release_has_and_nobody_starts() -> None:
    """`worker` became `jobs` with NEW; OLD has a `worker` and no `jobs`."""
    shape = topology(1, 1, processes={"jobs": {"command": "python -m shop.jobs"}})
    shape = replace(shape, process_hosts={"jobs": ("web1",)})
    state = {"jobs@1": {"release": NEW, "running": True, "pid": 7, "why": ""}}
    releases = [release(OLD, processes=["worker"]), release(NEW, processes=["jobs"])]
    found = facts(host("web1", releases, current=NEW, process_state=state))
    warned = make_plan(DesiredRelease("rollback", OLD), shape, found).warnings
    assert any("with worker in `processes`" in each for each in warned), warned
    assert not any("in `processes`" in each for each in make_plan(DesiredRelease("reload", NEW), shape, found).warnings)


# -- a changed health check, and some that stay on the release of before ----------------------------------------------


@pytest.mark.parametrize("who", ["stays behind", "is left out by --limit"])
def test_a_changed_health_check_and_one_on_the_release_of_before_is_not_asked_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """The release of before answers 404 to the other's path: `for_push(lenient=True)` says why, and for how long."""
    every = topology(3, 1, rolling={"soak": 0, "max_failures": 1, "max_unavailable": "50%"})
    limited = who == "is left out by --limit"
    shape = replace(every, web=every.web[:1], spared=every.web[1:]) if limited else every
    fleet = Filed(every)
    if not limited:
        fleet.bad = {(NEW, "web2")}
    for pool in fleet.pools.values():
        pool |= {f"web{n}-8500": Slot("maint", "spare") for n in (1, 2, 3)}
    places = {f"web{n}-{port}": f"192.0.2.{n}:{port}" for n in (1, 2, 3) for port in (8000, 8500)}
    releases = [release(OLD, asked="otherwise"), release(NEW, asked=shape.health_check_digest)]
    webs = [host(each.name, releases, current=OLD, slots={"8000": OLD}) for each in shape.web]
    found = Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places))
    pushed(monkeypatch, fleet, shape, found)
    assert OLD in fleet.busy.values() and NEW in fleet.busy.values()
    assert "expect status 100-499" in fleet.files["lb1"], "what serves OLD is DOWN for the balancer from now on"


def test_a_second_push_to_the_same_part_goes_on_asking_the_others_what_they_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = topology(3, 1, rolling={"soak": 0})
    shape = replace(every, web=every.web[:1], spared=every.web[1:])
    fleet = Filed(every)
    for pool in fleet.pools.values():
        pool |= {f"web{n}-8500": Slot("maint", "spare") for n in (1, 2, 3)}
    places = {f"web{n}-{port}": f"192.0.2.{n}:{port}" for n in (1, 2, 3) for port in (8000, 8500)}
    here = host(
        "web1",
        [release(each, asked=shape.health_check_digest) for each in (OLD, NEW)],
        current=OLD,
        slots={"8000": OLD},
    )
    found = Facts(facts(here, *balancers(shape)).hosts, pools_of(fleet, places))
    pushed(monkeypatch, fleet, shape, found, lenient=True)
    assert fleet.busy["web1-8000"] == NEW and "expect status 100-499" in fleet.files["lb1"]


# -- an added host, and a rollback -----------------------------------------------------------------------------------


def test_an_added_host_and_a_rollback_goes_to_the_last_release_or_names_the_host() -> None:
    """web3 was added, its first release is NEW, which is bad: the others have OLD, proven, too."""
    shape = topology(3, 1)
    others = [host(name, [OLD, NEW], current=NEW) for name in ("web1", "web2")]
    found = facts(*others, host("web3", [NEW], current=NEW), *balancers(shape))
    try:
        assert rollback.choose_release(shape, found, None, NEW) == OLD
    except DeployError as error:
        assert "web3" in f"{error} {error.hint}", f"{error}: {error.hint}"


# -- changed secrets, and a host that is lost as they are written ----------------------------------------------------


class Secretive(World):
    def secrets_write(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.secrets[host] = "of the run"
        return {"changed": True}


def test_changed_secrets_and_a_host_that_refuses_them_in_a_rollback_leaves_none_that_nothing_has_proven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a push they go back (`secrets.put_back_on_failure`); in a rollback and a reload nothing takes them back."""
    shape = topology(2, 1, rolling={"soak": 0})
    fleet = Secretive(shape)
    rollout = Rollout(fleet)
    webs = [host(name, [OLD, NEW], current=NEW) for name in ("web1", "web2")]
    through_a_rollback(monkeypatch, rollout, facts(*webs, bare_host("lb1")))
    monkeypatch.setattr(secrets, "differing", lambda run, values: ["web1", "web2"])
    fleet.fails("secrets.write", "web2", "no_space")
    project: Any = SimpleNamespace(topology=shape, env="prod", base=Path("/nonexistent"), secrets=dict, who="me@here")
    project.reached_by = lambda topology: project
    with pytest.raises(DeployError):
        rollback.rollback(project, rollout.invocation, release=OLD)
    assert fleet.secrets["web1"] == "before", "web1 starts NEW with secrets that nothing has proven, at its next boot"


# -- a changed health check, and a rollback --------------------------------------------------------------------------


def test_a_changed_health_check_and_a_rollback_asks_for_both_as_the_push_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """NEW brought `health.path: /healthz`, which OLD answers with 404: a balancer that asks for it never has OLD up."""
    shape = topology(3, 1, rolling={"soak": 0})
    fleet = Filed(shape)

    def not_up() -> None:
        if "expect status 100-499" not in fleet.files.get("lb1", "") and OLD in fleet.busy.values():
            raise AgentError("not_up", "the balancer's health check does not pass for web1-8000 (L7STS/404)")

    fleet.serving |= {f"web{n}-8000": NEW for n in (1, 2, 3)}
    fleet.current = dict.fromkeys(fleet.current, NEW)
    for pool in fleet.pools.values():
        pool |= {f"web{n}-8500": Slot("maint", "spare") for n in (1, 2, 3)}
    fleet.on("balancer.admit", "lb1", not_up)
    rollout = Rollout(fleet)
    releases = [release(OLD, asked="otherwise"), release(NEW, asked=shape.health_check_digest)]
    webs = [host(each.name, releases, current=NEW, slots={"8000": NEW}) for each in shape.web]
    places = {f"web{n}-{port}": f"192.0.2.{n}:{port}" for n in (1, 2, 3) for port in (8000, 8500)}
    through_a_rollback(monkeypatch, rollout, Facts(facts(*webs, *balancers(shape)).hosts, pools_of(fleet, places)))

    def roll(run: Any, project: Any, plan: Any, facts: Any, *, via: str, finish: Any, **more: Any) -> None:
        Waves(run, plan, via=via, checks=lambda steps, release: None, finish=finish, **more).carry_out()

    monkeypatch.setattr(rollback, "roll", roll)
    project: Any = SimpleNamespace(topology=shape, env="prod", base=Path("/nonexistent"), secrets=dict, who="me@here")
    project.reached_by = lambda topology: project
    rollback.rollback(project, rollout.invocation, release=None)
    assert set(fleet.busy.values()) == {OLD}


# -- a balancer that is not ours to configure, and fewer instances or other ports ------------------------------------


class Told(World):
    """The balancer has what it has; a run sees of it what its driver names (`command`: servers; theirs: addresses)."""

    def balancer_state(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        found = super().balancer_state(host, args)["servers"]
        return {"servers": {name: state for name, state in found.items() if name in self._named(args)}}

    def balancer_watch(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """`watchdog._require_out` looks at the servers that the driver names."""
        return super().balancer_watch(host, {**args, "out": [s for s in args.get("out", ()) if s in self._named(args)]})

    @staticmethod
    def _named(args: Mapping[str, Any]) -> Any:
        return args["driver"].get("servers") or args["driver"].get("addresses")


COMMANDS = {"kind": "command", "drain": "lbctl out", "admit": "lbctl in", "state": "lbctl state"}
THEIRS = {"kind": "haproxy", "manage": False, "backend": "theirs"}


@pytest.mark.parametrize("balancer", [COMMANDS, THEIRS], ids=["command", "manage-false"])
@pytest.mark.parametrize("change", ["fewer instances", "other ports"])
def test_what_the_settings_no_longer_have_is_drained_at_a_balancer_of_somebody_else_before_it_stops(
    balancer: dict[str, Any], change: str
) -> None:
    size: dict[str, Any] = (
        {"instances": 1, "port": 8000} if change == "fewer instances" else {"instances": 1, "port": 9000}
    )
    gone = 8001 if change == "fewer instances" else 8000
    shape = topology(3, 1, kind=balancer["kind"], rolling={"soak": 0}, balancer=balancer, **size)
    fleet = Told(shape)
    fleet.serving |= {f"web{n}-{gone}": OLD for n in (1, 2, 3)}
    fleet.pids |= {f"web{n}-{gone}": 100 for n in (1, 2, 3)}
    for pool in fleet.pools.values():  # users' requests go to all of them
        pool |= {f"web{n}-{gone}": Slot() for n in (1, 2, 3)}
    used = {"8000": OLD, "8001": OLD} if change == "fewer instances" else {"8000": OLD}
    serving: list[str | None] = [OLD] if change == "fewer instances" else []
    if not serving:
        fleet.serving |= {f"web{n}-9000": None for n in (1, 2, 3)}
    webs = [host(each.name, [OLD, NEW], current=OLD, serving=serving, slots=used) for each in shape.web]
    found = facts(*webs, *balancers(shape))
    rollout = Rollout(fleet)
    rollout.plan = replace(make_plan(DesiredRelease("push", NEW), shape, found), unused=())
    rollout.carry_out()
    assert rollout.exit == 0 and fleet.busy.keys() == {f"web{n}-{size['port']}" for n in (1, 2, 3)}
    assert fleet.harm == [], "an instance stops only when every balancer has drained it"


# -- another health check, and a release that passes it on its own host alone ------------------------------------------


def test_another_health_check_that_balancers_do_not_pass_never_reaches_them() -> None:
    fleet = Filed(topology(2, 1, rolling={"soak": 0}), picky={"web2-8000"})
    run = Rollout(fleet).run
    places = fleet.topology.places
    require_passed(run, {"web1-8000": places["web1-8000"]})
    with pytest.raises(
        DeployError, match=r"web2-8000 at 192\.0\.2\.2:8000 does not pass the new health check from lb1"
    ):
        require_passed(run, {name: places[name] for name in ("web1-8000", "web2-8000")})
    record = {"path": "/old", "status": 204, "host": "old.example.com", "headers": {"X-Old": "1"}}
    old = release(OLD, asked="another", health=record)
    shape = as_served(fleet.topology, facts(host("web1", [old], current=OLD, slots={"8000": OLD})))
    assert (shape.health().path, shape.health().host) == ("/old", "old.example.com")
