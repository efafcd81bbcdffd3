"""Responses of the right form with wrong values: one error that names host and operation, and a run that winds up."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
from scripted import OLD
from whole import Commands

from deployer.errors import RolloutError

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 3, 1.5, 1e308, float("inf"), float("nan"), 10**30, 1 << 62),
    *("", "1", "no such thing", "x" * 5000, "☃", "\n", [], [1], [None], {}, {"a": 1}, {"8000": None}),
)
WORDS = {
    "push": ("push", "prod", "--yes"),
    "rollback": ("rollback", "prod", "--yes"),
    "status": ("status", "prod"),
    "logs": ("logs", "prod"),
    "doctor": ("doctor", "prod"),
    "history": ("history", "prod"),
    "releases": ("releases", "prod"),
}
ROUNDS = int(os.environ.get("ROUNDS", "1"))
"""How many times as many seeds are tried."""

SEEDS = {"push": 10, "rollback": 15, "status": 20, "logs": 15, "doctor": 10, "history": 10, "releases": 15}
CONTRACT = {0, 3, 4, 5, 6, 7, 8}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [pair for key, item in items for pair in [(value, key), *places(item)]]


class Mutation:
    """Changes one value of one response of a run: that of call number `at`, or of all later ones like it too."""

    def __init__(self, seed: int, calls: int) -> None:
        self._chance = random.Random(seed)
        self._at = self._chance.randrange(calls)
        self._lasts = self._chance.random() < 0.5
        self._seed = seed
        self._seen = 0
        self.hit: tuple[str, str] | None = None
        self.about = ""

    def __call__(self, host: str, operation: str, value: dict[str, Any]) -> dict[str, Any]:
        number, self._seen = self._seen, self._seen + 1
        if (self.hit is None and number < self._at) or not places(value):
            return value
        if self.hit is None:
            self.hit = (host, operation)
        elif not self._lasts or self.hit != (host, operation):
            return value
        changed, chance = deepcopy(value), random.Random(self._seed + 1)
        container, key = chance.choice(places(changed))
        odd = chance.choice(ODD)
        self.about = f"{host} {operation}: {key!r} → {str(odd)[:40]!r}"
        if isinstance(container, dict) and chance.random() < 0.3:
            del container[key]
            self.about = f"{host} {operation}: without {key!r}"
        else:
            container[key] = odd
        return changed


@pytest.mark.parametrize("command", WORDS)
def test_one_clear_error_and_a_run_that_winds_up(command: str, commands: Commands) -> None:
    healthy = commands.run(*WORDS[command])
    assert healthy.exit_code == 0, healthy.stderr
    calls, rejected = len(commands.hosts.calls), Counter[int]()
    for seed in range(ROUNDS * SEEDS[command]):
        commands.fresh()
        mutation = commands.hosts.change = Mutation(seed, calls)
        result = commands.run(*WORDS[command])
        said = f"seed {seed}, {mutation.about}: exit {result.exit_code}\n{result.stderr[-1500:]}{result.stdout[-1500:]}"
        assert "Traceback" not in result.stderr and isinstance(result.exception, SystemExit | None), said
        end = json.loads(result.stdout.splitlines()[-1])
        assert end["event"] == "run.finished" and end["exit_status"] == result.exit_code, said
        assert result.exit_code in CONTRACT, said
        assert commands.hosts.holder is None and commands.hosts.harm == [], said
        if result.exit_code == RolloutError.exit_status:
            assert set(commands.hosts.busy.values()) == {OLD} and commands.hosts.available == 2, said
        begun, ended = (
            {line["run"] for line in commands.hosts.ledger if line["event"] == event} for event in ("begun", "ended")
        )
        assert not begun or begun == ended or (mutation.hit or ("", ""))[1] == "lock.take", said
        if commands.hosts.rejected:
            host, operation = commands.hosts.rejected[0]
            rejected[result.exit_code] += 1
            if end["error"]:
                assert host in str(end["error"]) and operation in str(end["error"]), said
            else:
                told = [line for line in result.stdout.splitlines() if '"event": "warning"' in line]
                again = commands.hosts.answered.count((host, operation))
                assert again or any(host in line and operation in line for line in told), said
    assert sum(rejected.values()) > ROUNDS * SEEDS[command] / 5, rejected
