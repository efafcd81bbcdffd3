"""Two cells of docs/table.md, drawn anew for every commit (`SEED=…` draws them again), with one command each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.project import REPOSITORY
from table.cells import chosen
from table.lane import Lane

from deployer.lab import Lab


def seed() -> str:
    """What the environment says, else the commit."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    return os.environ.get("SEED") or head.stdout.strip() or "0"


@pytest.mark.parametrize("balancer", ["haproxy", "none"])
def test_what_the_table_says_holds_in_a_cell_of_chance(balancer: str, lab: Lab, tmp_path: Path) -> None:
    [cell] = chosen(f"*/{balancer}", seed(), 1)
    print(f"SEED={seed()}: {cell.name}")
    lane = Lane(lab, tmp_path, cell.supervisor, balancer, "lb1" if balancer == "haproxy" else None)
    lane.set_up([cell])
    result = lane.measure(cell, cell.commands[:1])
    assert result["changes"] == (4 if balancer == "haproxy" else 1)
    assert result["requests"] >= 40
    assert cell.unforeseen(result) == [], result
