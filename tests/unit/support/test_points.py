"""The names of the points at which `make kills` lets somebody die, from what a run says of itself."""

from __future__ import annotations

from typing import Any

from support.points import Point, boundaries, chosen, noted, said


def step(event: str, name: str, instance: str = "", host: str = "") -> dict[str, Any]:
    return {"event": f"step.{event}", "step": name, "instance": instance, "host": host}


def wave(number: int) -> dict[str, Any]:
    return {"event": "wave.finished", "number": number, "restoring": False}


RUN = [
    {"event": "run.started"},
    step("started", "lock"),
    step("finished", "lock"),
    step("started", "drain", "web1:0"),
    step("finished", "drain", "web1:0"),
    wave(1),
    step("started", "drain", "web2:0, web3:0"),
    step("finished", "drain", "web2:0, web3:0"),
    step("started", "build", host="web1"),
    wave(2),
    step("started", "drain", "web1:0"),
    step("finished", "drain", "web1:0"),
]


def test_boundaries_are_starts_of_steps_ends_of_waves_and_the_last_end() -> None:
    expected = (
        "lock drain@web1:0 wave1.done drain@web2:0+web3:0 build@web1 wave2.done drain@web1:0#2 drain@web1:0.done#2"
    )
    assert boundaries(RUN) == expected.split()
    assert set(boundaries(RUN)) <= set(said(RUN)), "each is a name that a later run is going to say"


def test_an_agents_own_steps_are_those_of_its_run_in_its_ledger() -> None:
    lines = [
        {"run": "a", "event": "intent", "op": "switch", "state": "stop"},
        {"run": "b", "event": "intent", "op": "switch", "state": "stop"},
        {"run": "b", "event": "outcome", "op": "switch"},
        {"run": "b", "event": "intent", "op": "stop"},
        {"run": "b", "event": "current"},
    ]
    assert noted("web1", lines, "b") == ["web1:stop", "web1:stop#2", "web1:current"]


def test_points_have_names_that_are_read_again_and_chosen_by() -> None:
    every = [
        Point("push", moment, who) for moment in ("lock", "drain@web1:0", "web1:stop") for who in ("silence", "web1")
    ]
    assert [Point.named(str(point)) for point in every] == every
    assert [point.host for point in every] == ["", "", "", "", "web1", "web1"]
    assert set(chosen(every, "push/*/web1,push/lock/*", 1)) == {every[0], every[1], every[3], every[5]}
    assert chosen(every, "2", 7) == chosen(every, "2", 7) and len(chosen(every, "2", 7)) == 2
    assert len(chosen(every, "", 1)) == len(every)
