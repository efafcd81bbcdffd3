"""Web hosts out of reach when a run begins: who may be done without, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, Slot, World
from support.topologies import topology

from deployer.errors import DeployError, LeftBehindError, UnreachableError, UntrustedHostError
from deployer.rollout.run import unreachable


def silent(host: str, code: str = "timeout") -> DeployError:
    return UnreachableError(f"no answer from {host}", host=host, step="connect", code=code)


def rollout_without(*hosts: str, web: int = 4, strategy: str = "restart", **rolling: Any) -> Rollout:
    """A rollout of so many hosts, some of which are off."""
    shape = topology(web, 2, rolling={"soak": 0, "max_unavailable": "50%", "strategy": strategy, **rolling})
    fleet = World(shape)
    failures = {host: silent(host) for host in hosts}
    fleet.topology = unreachable.without(shape, failures, "push")
    for host in hosts:
        fleet.loses(host)
        for pool in fleet.pools.values():  # as the run that last reached it left it
            pool[shape.server(host, 8500)] = Slot("maint", "spare")
    rollout = Rollout(fleet)
    rollout.run.absent = failures
    return rollout


def serving(rollout: Rollout, release: str) -> set[str]:
    return {server.partition("-")[0] for server, found in rollout.world.busy.items() if found == release}


@pytest.mark.parametrize("strategy", ["restart", "bluegreen"])
def test_the_others_come_to_the_release_and_it_is_named_and_quarantined(strategy: str) -> None:
    rollout = rollout_without("web2", strategy=strategy, max_failures=1)
    out_at_first: list[dict[str, str | None]] = []
    rollout.world.on("instance.switch", "web1", lambda: out_at_first.append(rollout.world.out))
    rollout.carry_out()
    assert isinstance(rollout.error, LeftBehindError) and rollout.exit == 8
    assert "web2:0 stayed behind" in rollout.error.message and "no answer from web2" in str(rollout.error)
    assert serving(rollout, NEW) == {"web1", "web3", "web4"} and serving(rollout, OLD) == {"web2"}
    assert out_at_first[0]["web2-8000"] == "quarantine", "before anything else is stopped"
    assert rollout.world.out == {"web2-8000": "quarantine"} and rollout.world.harm == []


def test_it_counts_against_the_budget() -> None:
    rollout = rollout_without("web2", max_failures=1)
    rollout.world.bad = {(NEW, "web3")}
    rollout.carry_out()
    assert rollout.exit == 5 and serving(rollout, OLD) == {"web1", "web2", "web3", "web4"}
    assert rollout.world.harm == []


def test_it_counts_as_not_serving_when_others_are_to_be_taken_out() -> None:
    rollout = rollout_without("web2", max_failures=1, max_unavailable=1)
    rollout.carry_out()
    assert rollout.error is not None and rollout.error.code == "capacity" and rollout.exit == 5
    assert serving(rollout, OLD) == {"web1", "web2", "web3", "web4"} and rollout.world.lowest == 3


def test_a_balancer_that_cannot_quarantine_it_ends_the_run_before_anything_is_touched() -> None:
    rollout = rollout_without("web2", max_failures=1)
    rollout.world.fails("balancer.drain", "lb2")
    rollout.carry_out()
    assert rollout.exit == 5 and serving(rollout, NEW) == set() and rollout.world.lowest == 3


@pytest.mark.parametrize(
    ("failures", "more"),
    [
        ({"web2": silent("web2")}, {}),
        ({"web2": silent("web2"), "web3": silent("web3")}, {"max_failures": 1}),
        ({"lb1": silent("lb1")}, {"max_failures": 4}),
        ({"lb1": silent("lb1"), "web2": silent("web2")}, {"max_failures": 4}),
        ({host: silent(host) for host in ("web1", "web2", "web3")}, {"max_failures": 3}),
        ({"web2": silent("web2", "auth")}, {"max_failures": 1}),
        ({"web2": UntrustedHostError("another key", host="web2", code="key_changed")}, {"max_failures": 1}),
    ],
    ids=["no-budget", "too-many", "balancer", "balancer-too", "all", "login", "key"],
)
def test_what_is_refused_before_anything_is_changed(failures: dict[str, DeployError], more: dict[str, Any]) -> None:
    with pytest.raises(UnreachableError) as refused:
        unreachable.without(topology(3, 1, rolling=more), failures, "push")
    assert refused.value.exit_status == 3
    assert all(host in str(refused.value) for host in failures)


def test_the_host_of_the_release_hook_cannot_be_done_without() -> None:
    shape = topology(3, 1, rolling={"max_failures": 1}, hooks={"release": "alembic upgrade head"})
    with pytest.raises(UnreachableError, match="no answer from web1") as refused:
        unreachable.without(shape, {"web1": silent("web1")}, "push")
    assert "release hook" in str(refused.value.cause)
    assert [web.name for web in unreachable.without(shape, {"web2": silent("web2")}, "push").absent] == ["web2"]


def test_a_host_that_has_processes_alone_cannot_be_done_without() -> None:
    shape = topology(3, 1, own={"web3": {"instances": 0}}, rolling={"max_failures": 2})
    with pytest.raises(UnreachableError, match="web3"):
        unreachable.without(shape, {"web3": silent("web3")}, "push")


def test_a_rollback_needs_no_host_of_the_release_hook() -> None:
    shape = topology(3, 1, rolling={"max_failures": 1}, hooks={"release": "alembic upgrade head"})
    left = unreachable.without(shape, {"web1": silent("web1")}, "rollback")
    assert [web.name for web in left.absent] == ["web1"]


@pytest.mark.parametrize(
    ("hosts", "command", "hint"),
    [
        (["web2"], "logs", "deploy logs prod -l '!web2' goes on without it"),
        (["web2", "web3"], "history", "deploy history prod -l 'all:!web2:!web3' goes on without them"),
        (
            ["web2"],
            "rollback",
            "deploy rollback prod -l '!web2' goes on without it; "
            "rolling.max_failures: 1 in deploy.yaml lets every run do so",
        ),
        (
            ["web2"],
            "doctor",
            "deploy push prod -l '!web2' goes on without it; "
            "rolling.max_failures: 1 in deploy.yaml lets every run do so",
        ),
        (["lb1"], "doctor", "ssh to lb1 shows why it cannot be reached"),
    ],
)
def test_the_ways_to_go_on_without_hosts_are_said(hosts: list[str], command: str, hint: str) -> None:
    failures = {host: silent(host, "unreachable") for host in hosts}
    for error in failures.values():
        error.hint = "deploy doctor {env}"
    assert unreachable.unreachable(topology(3, 1), failures, command).hint == hint
