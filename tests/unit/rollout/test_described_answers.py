"""What commands really answer with --output json, on fleets in many states, is what their schemas say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from scripted import NEW, OLD
from support.answers import require_described
from whole import Commands, Hosts

from deployer.rollout.answers import ANSWERS


def healthy(hosts: Hosts) -> None:
    pass


def locked(hosts: Hosts) -> None:
    hosts.holder = "r9"


def frozen(hosts: Hosts) -> None:
    note = {"who": "ana@ci", "reason": "a sale", "since": 1.0}
    hosts.change = lambda host, operation, value: {**value, "frozen": note} if operation == "host.survey" else value


def held_out(hosts: Hosts) -> None:
    hosts.hold("web1-8000", "person")
    hosts.maintenance = {"who": "ana@ci", "reason": "a new disk", "since": 1.0}


def half_way(hosts: Hosts) -> None:
    hosts.serving["web1-8000"] = NEW
    hosts.built.add(("web1", NEW))
    hosts.ledger += [
        {"ts": 1.0, "event": "begun", "run": "r1", "who": "ana@ci", "command": "push", "release": NEW},
        {"ts": 2.0, "event": "intent", "run": "r1", "op": "switch", "instance": 0, "port": 8000, "release": NEW},
        {"ts": 3.0, "event": "frozen", "who": "ana@ci", "why": "look first"},
    ]
    half = {"run": "r1", "op": "switch", "instance": 0, "port": 8000, "release": NEW, "previous": OLD, "since": 2.0}
    noted = {"half_done": [half], "processes": {"worker@1": OLD}, "schedules": {"nightly": OLD}}
    hosts.change = lambda host, operation, value: (
        {**value, **noted} if operation == "host.survey" and host == "web1" else value
    )


def down(hosts: Hosts) -> None:
    hosts.serving["web2-8000"] = None


STATES: tuple[Callable[[Hosts], None], ...] = (healthy, locked, frozen, held_out, half_way, down)


@pytest.mark.parametrize("command", ANSWERS)
@pytest.mark.parametrize("state", STATES)
def test_its_schema_describes_what_it_answers(command: str, state: Callable[[Hosts], None], commands: Commands) -> None:
    state(commands.hosts)
    end = commands.closing(command, "prod")
    require_described(command, end)
    assert end["data"] or command in ("plan", "prune", "verify"), end


def test_data_of_another_shape_is_noticed(commands: Commands) -> None:
    end = commands.closing("status", "prod")
    for wrong in ({**end["data"], "more": 1}, {**end["data"], "locks": None}, {}):
        with pytest.raises(AssertionError, match=r"status\.schema\.json does not describe"):
            require_described("status", {**end, "data": wrong})
    with pytest.raises(AssertionError, match="answers nothing"):
        require_described("status", {**end, "data": None})
    with pytest.raises(AssertionError, match="no schema"):
        require_described("push", {**end, "data": {}})


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_what_prune_removes_is_data(words: tuple[str, ...], commands: Commands) -> None:
    data: dict[str, Any] = commands.closing("prune", "prod", *words)["data"]
    assert (data["dry_run"], data["keep"]) == (bool(words), 5)
    assert [each["host"] for each in data["hosts"]] == ["web1", "web2"]
    assert data["hosts"][0]["releases"] == [Hosts.OLDER] and data["hosts"][0]["bytes"] == 54_100_000
    assert json.dumps(data)
