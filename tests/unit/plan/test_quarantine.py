"""An instance that somebody holds out of the balancers: who brings it back, and who does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.facts import facts, host, release, server_state
from support.topologies import topology

from deployer.plan.changes import make_plan
from deployer.plan.draft import DesiredRelease

NOW = "20240301T000000Z-now00000"


@pytest.mark.parametrize(("by", "changes"), [("quarantine", ["web2:0"]), ("person", []), ("run", [])])
def test_a_quarantined_instance_goes_through_a_wave_to_come_back(by: str, changes: list[str]) -> None:
    shape = topology()
    found = facts(*(host(f"web{n}", [release(NOW)], current=NOW) for n in (1, 2, 3)))
    held = {"by": by, "reason": "its host was lost", "since": 0.0, "run": "earlier"}
    pools = {"lb1": {shape.server("web2", 8000): server_state("DRAIN", held=held)}}
    plan = make_plan(DesiredRelease("push", NOW), shape, replace(found, pools=pools))
    assert [step.name for step in plan.steps] == changes
