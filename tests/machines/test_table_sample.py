"""A cell of docs/table.md with one command, drawn anew for every commit; `SEED=…` draws it again. `make more`: two."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.project import REPOSITORY
from table.cells import chosen
from table.lane import Lane

from deployer.lab import Lab


def seed() -> str:
    """What the environment says, else the commit."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    return os.environ.get("SEED") or head.stdout.strip() or "0"


def balancers() -> list[Any]:
    """With HAProxy and without; every run takes the one that the seed says, `make more` the other."""
    drawn = random.Random(seed()).choice(["haproxy", "none"])
    return [name if name == drawn else pytest.param(name, marks=pytest.mark.more) for name in ("haproxy", "none")]


@pytest.mark.parametrize("balancer", balancers())
def test_what_the_table_says_holds_in_a_cell_of_chance(balancer: str, lab: Lab, tmp_path: Path) -> None:
    [cell] = chosen(f"*/{balancer}", seed(), 1)
    print(f"SEED={seed()}: {cell.name}")
    lane = Lane(lab, tmp_path, cell.supervisor, balancer, "lb1" if balancer == "haproxy" else None)
    lane.set_up([cell])
    result = lane.measure(cell, cell.commands[:1])
    assert result["changes"] == (4 if balancer == "haproxy" else 1)
    assert result["requests"] >= 40
    assert cell.unforeseen(result) == [], result
