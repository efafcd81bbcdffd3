"""A run that ended half way is told by `deploy status`, and `push --resume` goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, World
from support.facts import bare_host, facts, host
from support.topologies import topology

from deployer.agent.model.messages.site import NOTE_PLAN, NotePlan
from deployer.errors import DeployError, InterruptedRun, RolloutError, UsageError
from deployer.plan.divergence import apart
from deployer.plan.facts import Facts
from deployer.rollout.queries.status import left_unfinished, require_serving
from deployer.rollout.run.recording import note_end
from deployer.rollout.run.run import Run
from deployer.rollout.run.unfinished import resumed_release

NEXT = "20240701T000000Z-cccccccc"


def note_plan(rollout: Rollout, name: str) -> None:
    """What a run notes on all hosts before it does anything."""
    run, plan = rollout.run, rollout.plan.as_dict()
    run.run_on_hosts(run.hosts, NOTE_PLAN, lambda host: NotePlan(site=run.site(host), run=name, plan=plan))


class Noting(World):
    """A fleet whose hosts keep plans and ledgers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.plans: dict[str, dict[str, Any]] = {}
        self.ledgers: dict[str, list[dict[str, Any]]] = {}

    def site_note_plan(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.plans[host] = dict(args)
        return {}

    def site_plan(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        noted = self.plans.get(host, {"run": None, "plan": None})
        ended = any(entry["run"] == noted["run"] for entry in self.ledgers.get(host, ()))
        return {"run": noted["run"], "plan": noted["plan"], "ended": ended}

    def site_note_end(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.ledgers.setdefault(host, []).append({"event": "ended", **args})
        return {}

    def site_ledger(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"entries": [{"event": "current", "release": OLD}, *self.ledgers.get(host, ())], "lock": None}

    def found(self) -> Facts:
        """What a survey finds now."""
        serving = {web.name: self.serving[self.topology.server(web.name, web.ports[0])] for web in self.topology.web}
        hosts = [host(name, [OLD, NEW], current=self.current[name], serving=[now]) for name, now in serving.items()]
        return facts(*hosts, *(bare_host(each.name) for each in self.topology.balancers))


def noting(**rolling: Any) -> Noting:
    return Noting(topology(3, 1, rolling={"soak": 0, **rolling}))


def pushed(fleet: Noting, name: str = "run-1") -> None:
    """A push that noted its plan and its end on every host that was there."""
    rollout = Rollout(fleet)
    rollout.bus.run = name
    note_plan(rollout, name)
    rollout.run.noted, rollout.run.record.release = set(rollout.run.hosts), NEW
    note_end(rollout.run, rollout.carry_out().error)


def asking(fleet: Noting) -> Run:
    """A later run, from wherever."""
    return Rollout(fleet).run


def told(fleet: Noting) -> str:
    left = left_unfinished(asking(fleet), fleet.found())
    return left.text("prod") if left else ""


def test_a_run_that_stopped_is_told_with_what_serves_where_and_is_gone_on_with() -> None:
    fleet = noting(on_failure="stop")
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    assert told(fleet) == (
        f"run run-1 (push of {NEW}) stopped half way (web1:0 serves {NEW}, the others serve {OLD}): "
        "deploy push prod --resume goes on, deploy push prod pushes what is committed, deploy rollback prod goes back"
    )
    assert resumed_release(asking(fleet), fleet.found()) == NEW
    require_serving(fleet.topology, fleet.found())


def test_so_is_one_whose_balancer_was_lost_once_that_is_back() -> None:
    fleet = noting()
    fleet.on("balancer.drain", "lb1", lambda: None)
    fleet.on("balancer.drain", "lb1", lambda: fleet.loses("lb1"))
    pushed(fleet)
    fleet.lost.clear()
    assert f"stopped half way (web1:0 serves {NEW}, the others serve {OLD})" in told(fleet)
    assert resumed_release(asking(fleet), fleet.found()) == NEW


def test_so_is_one_that_left_an_instance_behind() -> None:
    fleet = noting(on_failure="continue")
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    assert f"(web2:0 serves {OLD}, the others serve {NEW})" in told(fleet)
    assert resumed_release(asking(fleet), fleet.found()) == NEW


def test_one_that_died_is_told_as_before() -> None:
    fleet = noting()
    rollout = Rollout(fleet)
    note_plan(rollout, "run-1")
    assert told(fleet).startswith(f"run run-1 (push of {NEW}) did not finish: deploy push prod --resume goes")
    assert resumed_release(asking(fleet), fleet.found()) == NEW


def test_a_later_run_that_succeeded_ends_the_matter() -> None:
    fleet = noting(on_failure="stop")
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    fleet.bad.clear()
    pushed(fleet, name="run-2")
    assert told(fleet) == ""
    fleet.serving["web3-8000"] = OLD
    assert told(fleet) == "", "whatever serves there since, no run left it so"
    with pytest.raises(UsageError, match="no run is left unfinished"):
        resumed_release(asking(fleet), fleet.found())


def test_one_that_succeeded_on_a_single_host_ends_it_there() -> None:
    fleet = noting(on_failure="stop")
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    fleet.serving["web2-8000"] = fleet.current["web2"] = NEW
    fleet.ledgers["web2"].append({"event": "ended", "run": "run-2", "outcome": "succeeded", "release": NEW})
    assert f"run run-1 (push of {NEW}) stopped half way (web3:0 serves {OLD}, the others serve {NEW})" in told(fleet)


@pytest.mark.parametrize("kind", [RolloutError, InterruptedRun])
def test_one_that_was_put_back_does_not(kind: type[DeployError]) -> None:
    fleet = noting(on_failure="stop")
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    later = Rollout(fleet, NEXT)
    later.bus.run = "run-2"
    later.run.noted, later.run.record.release = set(later.run.hosts), NEXT
    note_end(later.run, kind("it was put back"))
    assert f"run run-1 (push of {NEW}) stopped half way" in told(fleet)


def test_a_run_that_put_all_back_left_nothing() -> None:
    fleet = noting()
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    assert told(fleet) == ""


def test_while_somebody_is_at_it_nothing_is_told() -> None:
    fleet = noting(on_failure="stop")
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    locked = bare_host("lb1", lock={"who": "me", "run": "run-2"})
    hosts = fleet.found().hosts
    assert left_unfinished(asking(fleet), Facts({**hosts, "lb1": locked})) is None


def test_a_release_that_a_host_lacks_cannot_be_gone_on_with() -> None:
    fleet = noting(on_failure="stop")
    fleet.bad = {(NEW, "web2")}
    pushed(fleet)
    hosts = {**fleet.found().hosts, "web3": host("web3", [OLD], current=OLD)}
    with pytest.raises(UsageError, match="was not built on web3 yet"):
        resumed_release(asking(fleet), Facts(hosts))


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ([(OLD, OLD), (OLD, OLD)], ""),
        ([(OLD, NEW), (OLD, OLD)], f"web1:0 serves {NEW}, web2:0 serves {OLD}"),
        ([(NEW, NEW), (OLD, OLD)], f"web2:0 serves {OLD}, web1:0 serves {NEW}"),
        ([(OLD, NEW), (OLD, NEW)], f"only {NEW} serves, but {OLD} is current on web1, web2"),
        ([(None, NEW), (None, None)], f"web1:0 serves {NEW}, web2:0 serves nothing"),
    ],
)
def test_who_serves_what_in_words(hosts: list[tuple[str | None, str | None]], words: str) -> None:
    found = [host(f"web{n}", current=current, serving=[now]) for n, (current, now) in enumerate(hosts, 1)]
    assert apart(topology(len(hosts)), facts(*found)) == words
