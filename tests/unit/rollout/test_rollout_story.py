"""Waves against a fleet in memory: what users have at every moment, and what is true at the end, however it ends."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import NEW, OLD, Rollout, Slot, World
from support.topologies import topology

from deployer.agent.model.messages.instances import STOP, StopInstance
from deployer.agent.model.messages.lock import ASKED, ReadStopRequest
from deployer.errors import ChecksError, InterruptedRun, NeedsPersonError, RolloutError
from deployer.events import Event, WaveFinished, WaveStarted
from deployer.plan.model import InstanceStep
from deployer.remote.errors import AgentError, SessionLost
from deployer.rollout.pools.pools import LATE_S, QUIET_S
from deployer.rollout.run.record import outcome_of


def world(web: int = 3, balancers: int = 2, release: str | None = OLD, **settings: Any) -> World:
    rolling = {"soak": 0, **settings.pop("rolling", {})}
    return World(topology(web, balancers, rolling=rolling, **settings), release)


def all_serve(fleet: World, release: str | None) -> bool:
    served: set[str | None] = {found for found in fleet.serving.values() if found} or {None}
    return served == {release} and set(fleet.current.values()) == {release}


def put_back(rollout: Rollout) -> None:
    """As if nothing had been: the release, the pools, `current`, and nobody noticed."""
    fleet = rollout.world
    assert all_serve(fleet, OLD), fleet.serving
    assert fleet.out == {} and fleet.harm == []
    assert isinstance(rollout.error, RolloutError) and rollout.exit == 5
    assert outcome_of(rollout.error) == "rolled_back"


def put_back_but_for_who_is_out(rollout: Rollout, out: dict[str, str]) -> None:
    """As `put_back`, while somebody else's drain stands."""
    fleet = rollout.world
    assert all_serve(fleet, OLD) and fleet.harm == [] and fleet.out == out and rollout.exit == 5


def test_secrets_go_back_before_anything_does_and_stay_when_it_went_well() -> None:
    fleet = world(3)
    Rollout(fleet).carry_out()
    assert fleet.secrets == dict.fromkeys(["web1", "web2", "web3"], "settled")
    fleet = world(3)
    seen: list[dict[str, str]] = []
    fleet.fails("instance.switch", "web3")
    fleet.on("instance.switch", "web2", lambda: fleet.on("instance.switch", "web2", lambda: seen.append(fleet.secrets)))
    Rollout(fleet).carry_out()
    assert seen == [dict.fromkeys(["web1", "web2", "web3"], "before")]


def test_what_is_down_goes_back_before_what_serves() -> None:
    fleet = world(4)
    for host in ("web1", "web2", "web3"):
        fleet.on("instance.switch", host, lambda: None)
        fleet.on("instance.switch", host, lambda host=host: went.append(host))  # type: ignore[misc]
    went: list[str] = []

    def dies() -> None:
        for pool in fleet.pools.values():
            pool["web1-8000"] = Slot("drain", "run")
        raise AgentError("internal", "as the script says")

    fleet.on("instance.switch", "web4", dies)
    Rollout(fleet).carry_out()
    assert went == ["web1", "web3", "web2"]


def test_where_it_stops_those_that_changed_keep_their_secrets() -> None:
    fleet = world(3, rolling={"on_failure": "stop"})
    fleet.fails("instance.switch", "web2")
    Rollout(fleet).carry_out()
    assert fleet.secrets == {"web1": "settled", "web2": "before", "web3": "before"}


def test_who_stays_behind_has_the_secrets_of_before() -> None:
    fleet = world(3, rolling={"max_failures": 1})
    fleet.bad = {(NEW, "web2")}
    assert Rollout(fleet).carry_out().exit == 8
    assert fleet.secrets == {"web1": "settled", "web2": "before", "web3": "settled"}


# -- it goes well ----------------------------------------------------------------------------------------------------


def test_instance_by_instance_to_the_new_release() -> None:
    fleet = world(4)
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 0 and all_serve(fleet, NEW)
    assert fleet.out == {} and fleet.harm == [] and fleet.lowest == 3


def test_a_wave_takes_out_no_more_than_itself() -> None:
    fleet = world(10, rolling={"max_unavailable": 2})
    Rollout(fleet, sizes=[1, 2, 2, 2, 2, 1]).carry_out()
    assert all_serve(fleet, NEW) and fleet.harm == [] and fleet.lowest == 8


def test_two_instances_of_one_host_change_one_after_the_other() -> None:
    fleet = world(2, instances=2)
    Rollout(fleet).carry_out()
    assert all_serve(fleet, NEW) and fleet.harm == [] and fleet.lowest == 3


def test_a_first_push_starts_everything_together() -> None:
    fleet = world(3, release=None)
    rollout = Rollout(fleet, sizes=[3]).carry_out()
    assert rollout.exit == 0 and all_serve(fleet, NEW) and fleet.harm == []


def test_without_a_balancer_instances_still_change_one_by_one() -> None:
    fleet = world(3, balancers=0)
    Rollout(fleet).carry_out()
    assert all_serve(fleet, NEW) and fleet.lowest == 2


def test_a_single_instance_may_be_restarted() -> None:
    fleet = world(1)
    assert Rollout(fleet).carry_out().exit == 0
    assert all_serve(fleet, NEW) and fleet.harm == []


def test_a_reload_restarts_what_serves() -> None:
    fleet = world(3)
    before = dict(fleet.pids)
    assert Rollout(fleet, OLD, via="reload").carry_out().exit == 0
    assert all_serve(fleet, OLD) and fleet.lowest == 2
    assert all(fleet.pids[server] != before[server] for server in fleet.busy)


def test_what_a_person_took_out_gets_the_release_and_stays_out() -> None:
    fleet = world(3, rolling={"max_unavailable": 2})
    fleet.hold("web2-8000", "person")
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 0 and all_serve(fleet, NEW)
    assert fleet.out == {"web2-8000": "person"} and fleet.lowest == 1


def test_what_a_person_took_out_counts_as_missing() -> None:
    fleet = world(3)
    fleet.hold("web2-8000", "person")
    rollout = Rollout(fleet).carry_out()
    put_back_but_for_who_is_out(rollout, {"web2-8000": "person"})
    assert rollout.error is not None and rollout.error.code == "capacity" and fleet.lowest == 2


def test_a_quarantined_host_comes_back_once_it_proved_the_release() -> None:
    fleet = world(3)
    fleet.hold("web2-8000", "quarantine")
    assert Rollout(fleet).carry_out().exit == 0
    assert all_serve(fleet, NEW) and fleet.out == {}


def test_the_record_tells_what_every_instance_came_to() -> None:
    rollout = Rollout(world(2, instances=2)).carry_out()
    finished = rollout.record.finish(rollout.error).as_json()
    assert finished["hosts"]["web2"] == {
        "outcome": "succeeded",
        "instances": {
            "0": {"port": 8000, "release": NEW, "state": "proven"},
            "1": {"port": 8001, "release": NEW, "state": "proven"},
        },
    }


# -- the new release is no good --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["web1", "web2", "web4"])
def test_a_release_that_does_not_start_somewhere_is_taken_back_everywhere(host: str) -> None:
    fleet = world(4)
    fleet.bad = {(NEW, host)}
    rollout = Rollout(fleet).carry_out()
    put_back(rollout)
    assert fleet.lowest == 3
    assert rollout.error is not None and rollout.error.host == host and rollout.error.log == ("Traceback: boom",)


def test_the_second_instance_of_a_host_fails() -> None:
    fleet = world(2, instances=2, rolling={"max_unavailable": 2})
    fleet.on("instance.switch", "web2", lambda: None)
    fleet.on("instance.switch", "web2", lambda: fleet.bad.add((NEW, "web2")))
    rollout = Rollout(fleet, sizes=[2, 2]).carry_out()
    put_back(rollout)
    assert fleet.lowest == 2


def test_it_starts_and_fails_its_checks() -> None:
    fleet = world(4)
    rollout = Rollout(fleet)

    def checks(steps: Any, release: str) -> None:
        if any(step.host == "web3" for step in steps):
            raise ChecksError("1 of 4 checks failed", host="web3", step="checks")

    rollout.checks = checks
    put_back(rollout.carry_out())
    assert fleet.lowest == 3
    assert ("web2-8000", NEW) in fleet.shown and ("web3-8000", NEW) not in fleet.shown


def test_it_falls_ill_while_it_is_watched() -> None:
    fleet = world(3, rolling={"soak": 0.01})
    fleet.sick = {(NEW, "web2")}
    rollout = Rollout(fleet).carry_out()
    put_back(rollout)
    assert rollout.error is not None and rollout.error.log == ("its last words",)


def test_it_dies_after_it_was_watched_and_nobody_else_is_taken_out_for_it() -> None:
    fleet = world(2, rolling={"soak": 0.01})
    rollout = Rollout(fleet)

    def after_the_first(event: Event) -> None:
        if isinstance(event, WaveFinished) and event.number == 1 and not event.restoring:
            fleet.sick.add((NEW, "web1"))

    rollout.bus.subscribe(after_the_first)
    put_back(rollout.carry_out())
    assert fleet.pids["web2-8000"] == 100, "web2 was stopped while web1 was dead"


def test_it_dies_and_comes_back_just_before_the_end() -> None:
    """A supervisor that restarts a dying release again and again looks healthy at most moments."""
    fleet = world(2, rolling={"soak": 0.01})
    rollout = Rollout(fleet)

    def after_the_last(event: Event) -> None:
        if isinstance(event, WaveFinished) and event.number == 2 and not event.restoring:
            fleet.pids["web1-8000"] = 999

    rollout.bus.subscribe(after_the_last)
    put_back(rollout.carry_out())
    assert rollout.error is not None and "after it was watched" in rollout.error.message


def test_its_workers_die_and_come_back_while_it_is_watched() -> None:
    fleet = world(3, rolling={"soak": 0.05})
    fleet.on("instance.prove", "web2", lambda: None)
    fleet.on("instance.prove", "web2", lambda: fleet.pids.update({"web2-8000": 999}))
    rollout = Rollout(fleet).carry_out()
    put_back(rollout)
    assert rollout.error is not None and rollout.error.code == "died"


def test_recycled_workers_are_no_failure() -> None:
    fleet = world(3, rolling={"soak": 0.05}, runtime={"max_requests": 1000})
    fleet.on("instance.prove", "web2", lambda: None)
    fleet.on("instance.prove", "web2", lambda: fleet.pids.update({"web2-8000": 999}))
    assert Rollout(fleet).carry_out().exit == 0


def test_a_balancer_does_not_find_it_healthy() -> None:
    fleet = world(3)
    fleet.fails("balancer.admit", "lb2", "not_up")
    rollout = Rollout(fleet).carry_out()
    put_back(rollout)
    assert rollout.error is not None and (rollout.error.code, rollout.error.host) == ("not_up", "lb2")


def test_the_fleet_fails_its_checks_after_the_last_wave() -> None:
    fleet = world(4, rolling={"max_unavailable": 2})
    rollout = Rollout(fleet, sizes=[1, 2, 1])

    def finish() -> None:
        assert set(fleet.current.values()) == {NEW}
        raise ChecksError("the fleet is not as it should be", step="checks")

    rollout.finish = finish
    put_back(rollout.carry_out())
    assert fleet.lowest == 2


def test_a_host_does_not_note_the_release() -> None:
    fleet = world(3)
    fleet.fails("site.promote", "web2", "incomplete")
    rollout = Rollout(fleet).carry_out()
    put_back(rollout)
    assert rollout.error is not None and (rollout.error.code, rollout.error.host) == ("incomplete", "web2")


def test_a_first_push_that_fails_leaves_nothing_running() -> None:
    fleet = world(3, release=None)
    fleet.bad = {(NEW, "web3")}
    rollout = Rollout(fleet, sizes=[3]).carry_out()
    assert rollout.exit == 5 and fleet.harm == []
    assert set(fleet.serving.values()) == {None}
    assert set(fleet.current.values()) == {None}


def test_every_wave_that_began_is_told_to_have_ended() -> None:
    fleet = world(4)
    fleet.bad = {(NEW, "web3")}
    told = Rollout(fleet).carry_out().events
    waves = [each for each in told if isinstance(each, WaveStarted | WaveFinished)]
    pairs = [
        (began.number, began.restoring, began.instances, ended.ok)
        for began, ended in zip(waves[::2], waves[1::2], strict=True)
        if isinstance(began, WaveStarted) and isinstance(ended, WaveFinished)
    ]
    assert pairs == [
        (1, False, ("web1:0",), True),
        (2, False, ("web2:0",), True),
        (3, False, ("web3:0",), False),
        (1, True, ("web2:0",), True),
        (2, True, ("web1:0",), True),
    ]


# -- balancers and links fail ----------------------------------------------------------------------------------------


def test_one_of_two_balancers_cannot_drain() -> None:
    fleet = world(3)
    fleet.fails("balancer.drain", "lb2", "balancer_down")
    rollout = Rollout(fleet).carry_out()
    put_back(rollout)
    assert rollout.error is not None and rollout.error.host == "lb2"


def test_a_balancer_falls_silent_before_an_instance_is_stopped() -> None:
    fleet = world(3)
    fleet.on("balancer.drain", "lb1", lambda: fleet.silent.update(lb1=9.0))
    pids = dict(fleet.pids)
    put_back(Rollout(fleet).carry_out())
    assert fleet.pids == pids, "something was stopped"


def test_a_balancer_falls_silent_between_two_instances_of_a_host() -> None:
    fleet = world(2, instances=2)
    fleet.on("stopped", "web1", lambda: fleet.silent.update(lb1=9.0))
    fleet.on("balancer.admit", "lb1", fleet.silent.clear)
    put_back(Rollout(fleet, sizes=[2, 2]).carry_out())
    assert fleet.pids["web1-8001"] == 100, "the second one was touched"


def test_a_balancer_that_fails_on_the_way_back_leaves_nobody_out() -> None:
    """web1 cannot be drained any more, so it goes on with the new release, and is not left out of the other pool."""
    fleet = world(3)
    fleet.bad = {(NEW, "web2")}
    fleet.on("balancer.drain", "lb2", lambda: None)
    fleet.on("balancer.drain", "lb2", lambda: None)
    fleet.fails("balancer.drain", "lb2", "balancer_down")
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and "web1:0" in rollout.error.message
    assert fleet.busy == {"web1-8000": NEW, "web2-8000": OLD, "web3-8000": OLD}
    assert fleet.out == {} and fleet.harm == [] and fleet.lowest == 2


def test_a_host_is_lost_while_its_instance_is_stopped() -> None:
    fleet = world(4)
    fleet.on("stopped", "web2", lambda: fleet.loses("web2"))
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and rollout.exit == 6
    assert rollout.error.host == "web2" and "deploy status prod" in (rollout.error.hint or "")
    assert fleet.out == {"web2-8000": "quarantine"} and fleet.harm == []
    assert {fleet.serving[f"web{n}-8000"] for n in (1, 3, 4)} == {OLD}
    assert fleet.lowest == 2, "the lost one, and one that goes back"


def test_a_host_is_lost_while_it_is_watched() -> None:
    """Its instance serves, and nobody knows for how long: it is out until it proves a release."""
    fleet = world(3, rolling={"soak": 0.01})
    fleet.on("instance.prove", "web2", lambda: fleet.loses("web2"))
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and rollout.error.host == "web2"
    assert fleet.out == {"web2-8000": "quarantine"} and fleet.harm == []
    assert fleet.serving["web1-8000"] == OLD


def test_a_balancer_host_is_lost() -> None:
    """Nothing can be drained there any more, so nothing is stopped any more."""
    fleet = world(3)
    fleet.on("balancer.drain", "lb2", lambda: None)
    fleet.on("balancer.drain", "lb2", lambda: fleet.loses("lb2"))
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 6 and fleet.harm == []
    assert fleet.busy == {"web1-8000": NEW, "web2-8000": OLD, "web3-8000": OLD}
    assert {slot.admin for slot in fleet.pools["lb1"].values() if slot.by != "spare"} == {"ready"}


def test_the_error_names_the_balancer_that_was_lost() -> None:
    """web1 and web2 are well, and nobody can take them out or in."""
    fleet = world(3)
    fleet.on("balancer.drain", "lb2", lambda: None)
    fleet.on("balancer.drain", "lb2", lambda: fleet.loses("lb2"))
    error = Rollout(fleet).carry_out().error
    assert isinstance(error, NeedsPersonError) and error.host == "lb2"
    assert "could not be brought back, since lb2 was lost" in error.message and "web1:0" in error.message


def test_so_it_does_beside_what_serves() -> None:
    fleet = world(3, rolling={"strategy": "bluegreen"})
    rollout = Rollout(fleet)
    rollout.checks = lambda steps, release: fleet.loses("lb2") if steps[0].host == "web2" else None
    error = rollout.carry_out().error
    assert isinstance(error, NeedsPersonError) and error.host == "lb2" and "lb2" in error.message


def test_what_went_back_as_a_balancer_was_lost_is_not_quarantined() -> None:
    """Its own host is there: the other balancer goes on with it."""
    fleet = world(3)
    fleet.bad = {(NEW, "web2")}
    fleet.on("instance.switch", "web1", lambda: None)
    fleet.on("instance.switch", "web1", lambda: fleet.on("balancer.admit", "lb2", lambda: fleet.loses("lb2")))
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 6 and rollout.error is not None and rollout.error.host == "lb2"
    assert set(fleet.busy.values()) == {OLD} and fleet.harm == []
    assert {slot.by for slot in fleet.pools["lb1"].values()} == {None, "spare"}


def test_a_lost_session_says_in_whose_step_it_was_asked() -> None:
    """The error is one and the same, whoever asks: also who listens for `deploy cancel`."""
    fleet = world(1)
    lost = SessionLost("the agent ended", host="lb1")

    def ended() -> None:
        raise lost

    run = Rollout(fleet).run
    request = ReadStopRequest(site=run.site("lb1"), run=run.id)
    for step in ("", "admit"):
        fleet.on(ASKED.name, "lb1", ended)
        with pytest.raises(SessionLost) as caught:
            run.call("lb1", ASKED, request, step=step)
        assert caught.value.where == f"lb1, step {step or ASKED.name}"


# -- what the watchdogs are told --------------------------------------------------------------------------------------


def test_watchdogs_wait_for_a_switch_only_while_one_is_under_way() -> None:
    fleet = world(3)
    seen: list[tuple[float, float]] = []
    rollout = Rollout(fleet)
    for host in ("web1", "web2", "web3"):
        fleet.on("stopped", host, lambda: seen.append((fleet.bounds["lb1"], fleet.bounds["lb2"])))
    rollout.checks = lambda steps, release: seen.append((fleet.bounds["lb1"], fleet.bounds["lb2"]))
    rollout.carry_out()
    long = fleet.topology.longest_switch + LATE_S
    assert seen == [(long, long), (QUIET_S, QUIET_S)] * 3


def test_a_balancer_that_cannot_be_told_of_a_switch_lets_nothing_stop() -> None:
    fleet = world(3)
    fleet.on("balancer.watch", "lb2", lambda: None)
    fleet.fails("balancer.watch", "lb2")
    pids = dict(fleet.pids)
    put_back(Rollout(fleet).carry_out())
    assert fleet.pids == pids, "something was stopped"
    assert set(fleet.bounds.values()) == {QUIET_S}


def test_what_a_watchdog_put_back_is_not_stopped() -> None:
    fleet = world(3)
    fleet.on("balancer.watch", "lb2", lambda: None)
    fleet.on("balancer.watch", "lb2", lambda: fleet.pools["lb2"].update({"web1-8000": Slot()}))
    pids = dict(fleet.pids)
    put_back(Rollout(fleet).carry_out())
    assert fleet.pids == pids, "something was stopped"


def test_a_host_that_was_lost_may_still_be_switching() -> None:
    fleet = world(4)
    fleet.on("stopped", "web2", lambda: fleet.loses("web2"))
    bounds: list[float] = []
    fleet.on("balancer.drain", "lb1", lambda: None)
    fleet.on("balancer.drain", "lb1", lambda: None)
    fleet.on("balancer.drain", "lb1", lambda: bounds.append(fleet.bounds["lb1"]))
    Rollout(fleet).carry_out()
    assert bounds == [fleet.topology.longest_switch + LATE_S], "when it was quarantined"
    assert set(fleet.bounds.values()) == set(bounds)


# -- the way back is blocked -----------------------------------------------------------------------------------------


def test_the_old_release_does_not_start_any_more_on_a_host() -> None:
    fleet = world(4)
    fleet.bad = {(NEW, "web3")}
    fleet.on("instance.switch", "web3", lambda: fleet.bad.add((OLD, "web1")))
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and "web1:0" in rollout.error.message
    assert "did not answer" in (rollout.error.cause or "")
    assert fleet.busy == {"web2-8000": OLD, "web3-8000": OLD, "web4-8000": OLD}
    assert set(fleet.out) == {"web1-8000"} and fleet.harm == [] and fleet.lowest == 3


def test_the_failed_instance_itself_cannot_be_brought_back() -> None:
    fleet = world(4)
    fleet.bad = {(NEW, "web2"), (OLD, "web2")}
    rollout = Rollout(fleet).carry_out()
    assert isinstance(rollout.error, NeedsPersonError) and "web2:0 could not be brought back" in rollout.error.message
    assert rollout.record.hosts["web2"]["outcome"] == "failed"
    assert fleet.serving["web2-8000"] is None and fleet.harm == []
    assert {fleet.serving[f"web{n}-8000"] for n in (1, 3, 4)} == {OLD}


def test_the_last_that_serves_is_not_taken_out_to_go_back() -> None:
    fleet = world(2)
    fleet.bad = {(NEW, "web2"), (OLD, "web2")}
    rollout = Rollout(fleet).carry_out()
    assert rollout.exit == 6 and fleet.harm == []
    assert fleet.lowest == 1, "there was a moment when nobody served"
    assert fleet.busy == {"web1-8000": NEW} and "web1-8000" not in fleet.out


def test_nothing_is_taken_out_when_all_others_are_down() -> None:
    fleet = world(3)
    rollout = Rollout(fleet)
    fleet.serving |= {"web2-8000": None, "web3-8000": None}
    rollout.carry_out()
    assert rollout.exit == 5 and rollout.error is not None and rollout.error.step == "guard"
    assert fleet.serving["web1-8000"] == OLD and fleet.out == {} and fleet.pids["web1-8000"] == 100


# -- a person stops it -----------------------------------------------------------------------------------------------


def test_a_person_stops_it_between_two_waves() -> None:
    fleet = world(4)
    rollout = Rollout(fleet)

    def after_the_second(event: Event) -> None:
        if isinstance(event, WaveFinished) and event.number == 2:
            rollout.stop.set()

    rollout.bus.subscribe(after_the_second)
    rollout.carry_out()
    assert isinstance(rollout.error, InterruptedRun) and rollout.exit == 130
    assert all_serve(fleet, OLD) and fleet.out == {} and fleet.harm == [] and fleet.lowest == 3


def test_a_person_stops_it_in_the_middle_of_an_instance() -> None:
    """The instance in hand is finished, then everything goes back."""
    fleet = world(3)
    rollout = Rollout(fleet)
    fleet.on("stopped", "web1", rollout.stop.set)
    rollout.carry_out()
    assert rollout.exit == 130 and all_serve(fleet, OLD) and fleet.out == {} and fleet.harm == []


def test_a_person_stops_it_before_the_first_wave() -> None:
    fleet = world(3)
    rollout = Rollout(fleet)
    rollout.stop.set()
    rollout.carry_out()
    assert rollout.exit == 130 and all_serve(fleet, OLD) and fleet.lowest == 3


def test_the_world_itself_notices_an_instance_that_stops_under_a_balancer() -> None:
    """Without this the other tests would prove nothing."""
    fleet = world(2)
    step = InstanceStep("web1", 0, 8000, "restart", OLD)
    run = Rollout(fleet).run
    instance = run.topology.instance(run.topology.web[0], step.index, step.port).to_wire()
    run.call("web1", STOP, StopInstance(site=run.site("web1"), run="run-1", instance=instance))
    assert fleet.harm == ["web1-8000 stopped under lb1", "web1-8000 stopped under lb2"] and fleet.lowest == 1
