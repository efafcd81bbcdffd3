"""The agent is killed at every boundary of a switch; the next one converges, and the ledger says what was half done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import supervised
from supervised import World

from deployer.agent import survey
from deployer.agent.instance import operations as instance
from deployer.agent.model.messages.instances import StopInstance
from deployer.agent.model.messages.site import Promote
from deployer.agent.operation import Context, OpError
from deployer.agent.site import ledger
from deployer.agent.site import operations as site


@pytest.fixture
def host() -> Iterator[World]:
    with supervised.world() as made:
        made.switch(made.release("r1"))
        yield made


def crash(operation: str, when: str, line: str, args: Mapping[str, object]) -> None:
    argv = [sys.executable, str(Path(__file__).with_name("crash.py")), operation, when, line]
    ended = subprocess.run(argv, input=json.dumps(args).encode(), capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


BOUNDARIES = [
    ("after", "stop", "r1"),
    ("before", "link", "stopped"),
    ("after", "link", "stopped"),
    ("before", "start", "stopped"),
    ("after", "start", "stopped"),
    ("before", "outcome", "r2"),
]


@pytest.mark.parametrize(("when", "line", "serves"), BOUNDARIES)
def test_a_crash_at_a_boundary_is_seen_and_the_next_switch_converges(
    host: World, when: str, line: str, serves: str
) -> None:
    host.release("r2")
    crash("instance.switch", when, line, host.args("r2", "r1", run="dead"))

    (left,) = survey.survey(Context(), {"site": host.args("r2")["site"]})["half_done"]
    assert (left["run"], left["op"], left["release"], left["previous"]) == ("dead", "switch", "r2", "r1")
    seen = host.proof()
    assert (seen["release"] or "stopped") == serves
    assert seen["proven"] is (serves != "stopped")

    again = host.switch("r2", "r1")

    assert again["changed"] is (serves != "r2")
    assert host.proof("r2")["proven"] is True
    assert ledger.half_done(host.site) == []


@pytest.mark.parametrize(("when", "line", "serves"), BOUNDARIES[2:5])
def test_after_a_crash_it_can_also_go_back(host: World, when: str, line: str, serves: str) -> None:
    host.release("r2")
    crash("instance.switch", when, line, host.args("r2", "r1"))
    host.switch("r1", "r1", via="restore")
    assert host.proof("r1")["proven"] is True
    assert host.slot == "../releases/r1"


def test_a_crash_on_the_way_back_is_healed_too(host: World) -> None:
    host.release("r2", supervised.BROKEN)
    crash("instance.switch", "after", "undo", host.args("r2", "r1"))
    assert host.slot == "../releases/r2"
    host.switch("r1", "r1", via="restore")
    assert host.proof("r1")["proven"] is True


def test_a_crash_while_it_stops_for_good_is_finished_by_the_next_stop(host: World) -> None:
    args: StopInstance = {"site": host.site.to_wire(), "run": "r1", "instance": host.instance.to_wire()}
    crash("instance.stop", "before", "outcome", args)
    (left,) = ledger.half_done(host.site)
    assert left["op"] == "stop"
    instance.stop(Context(), args)
    assert (ledger.half_done(host.site), host.slot) == ([], None)


def test_current_moves_only_when_all_slots_agree_and_survives_a_crash(host: World) -> None:
    def move(release: str) -> Promote:
        ports = [host.instance.port, 1]
        return {"site": host.site.to_wire(), "run": "r", "via": "push", "ports": ports, "release": release}

    site.promote(Context(), move("r1"))
    host.release("r2")
    with pytest.raises(OpError, match="not every slot"):
        site.promote(Context(), move("r2"))
    host.switch("r2", "r1")

    crash("site.promote", "before", "current", move("r2"))  # the link moved, the line was not written
    assert ledger.proven(host.site) == ["r1"]
    moved = site.promote(Context(), move("r2"))

    assert (moved["current"], moved["previous"]) == ("r2", "r1")
    assert ledger.proven(host.site) == ["r1", "r2"]
    again = site.promote(Context(), move("r2"))
    assert again["changed"] is False
    assert ledger.proven(host.site) == ["r1", "r2"]
    assert [entry["release"] for entry in ledger.read(host.site) if entry["event"] == "current"] == ["r1", "r2"]
