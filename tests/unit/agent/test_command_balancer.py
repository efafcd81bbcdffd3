"""A balancer that commands move: what they are told, which words they may say, and that nothing is believed blindly."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from commanded import Place
from support.balanced import until

from deployer.agent.balancer import drain_records
from deployer.agent.operation import Context, OpError


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_commands_are_told_which_server_they_are_for(place: Place) -> None:
    assert place.drain()["drained"]
    assert place.state()["state"] == "DRAIN" and drain_records.read(place.site)["web1-8000"]["by"] == "person"
    assert place.call("admit", servers=["web1-8000"], by="person")["servers"]["web1-8000"]["state"] == "UP"
    told = (place.folder / "told").read_text().splitlines()
    assert "drain shop prod theirs web1 0 192.0.2.1 8000" in told
    assert "admit shop prod theirs web1 0 192.0.2.1 8000" in told
    assert not [line for line in told if line.startswith(("drain", "admit")) and "web2" in line]


@pytest.mark.parametrize(
    ("word", "state", "serves", "sessions"),
    [
        ("ready", "UP", True, 0),
        ("unhealthy", "DOWN", False, 0),
        ("drain 7", "DRAIN", False, 7),
        ("down", "DRAIN", False, 0),
    ],
)
def test_what_the_words_mean(place: Place, word: str, state: str, serves: bool, sessions: int) -> None:
    place.says("web1-8000", word)
    found = place.state()
    assert (found["state"], found["serves"], found["sessions"]) == (state, serves, sessions)


def test_state_is_asked_until_nothing_is_in_flight(place: Place) -> None:
    place.commands["drain"] = f"{place.word} drain 3"
    ctx = Context(identity="me@here")
    done: list[dict[str, Any]] = []
    draining = threading.Thread(target=lambda: done.append(place.drain(ctx, timeout=30)))
    draining.start()
    until("it is told", lambda: (place.folder / "web1-8000").read_text() == "drain 3\n")
    place.says("web1-8000", "down")
    draining.join(30)
    assert done[0]["drained"] and done[0]["remaining"] == 0


def test_a_state_that_fails_for_a_moment_is_asked_again(place: Place) -> None:
    tries = f"{place.folder}/tries-$DEPLOY_SERVER"
    place.commands["state"] = f"echo >> {tries}; [ $(wc -l < {tries}) -ge 3 ] && echo ready"
    assert place.state()["state"] == "UP"


def test_a_drain_that_does_nothing_is_not_believed(place: Place) -> None:
    place.commands["drain"] = "true"
    answer = place.drain(timeout=0.5)
    assert (answer["drained"], answer["remaining"]) == (False, 1)
    assert place.state()["state"] == "UP", "what may be stopped is what `state` says is out (balancer.watch)"


def test_an_admit_that_does_nothing_is_not_up(place: Place) -> None:
    place.drain()
    place.commands["admit"] = f"echo admit >> {place.folder}/asked"
    with pytest.raises(OpError) as raised:
        place.call("admit", servers=["web1-8000"], by="person", wait=0.5)
    assert raised.value.code == "not_up" and "state says down" in raised.value.message
    assert (place.folder / "asked").read_text().count("admit") == 1, "it is not hammered"


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("echo no such thing >&2; exit 3", "failed: exit status 3"),
        ("echo 'OutOfService'", "printed 'OutOfService', which is none of ready, unhealthy, drain, down"),
        ("sleep 30", "failed: timed out"),
    ],
)
def test_a_state_that_says_nothing_useful_is_shown(place: Place, command: str, what: str) -> None:
    place.commands.update(state=command, timeout=0.5)
    with pytest.raises(OpError) as raised:
        place.state()
    assert raised.value.code == "balancer_down" and what in raised.value.message
    assert "balancer.state" in raised.value.message
    if "3" in what:
        assert raised.value.log == ["no such thing"]


def test_secrets_are_in_the_environment_and_in_no_error(place: Place) -> None:
    Path(place.site.secrets).write_text("export TOKEN='very secret'\n")
    place.commands["drain"] = 'echo "logged in with $TOKEN"; exit 1'
    with pytest.raises(OpError) as raised:
        place.drain()
    assert raised.value.log == ["logged in with •••"]


def test_the_next_run_puts_back_what_a_dead_one_left(place: Place) -> None:
    place.says("web1-8000", "down")
    with drain_records.editing(place.site) as records:
        records["web1-8000"] = drain_records.record("run", "dead", "me@here", "it changed it")
    assert place.call("recover", run="run-2")["admitted"] == ["web1-8000"]
    assert place.state()["state"] == "UP" and drain_records.read(place.site) == {}
