"""The last lines of a unit's log, by its verb."""

from __future__ import annotations

from deployer.agent.instance.unit import Unit
from deployer.agent.model.supervision import Health, Instance, Verbs

SAYS = ("sh", "-c", 'for each in 1 2 3; do echo "$each $0"; done', "of {lines}")


def test_the_last_lines() -> None:
    verbs = Verbs(unit="shop@8000.service", start=(), stop=(), pid=(), log=SAYS)
    assert Unit(Instance(0, 8000, "127.0.0.1", verbs, Health(), graceful=1.0)).log(2) == ["2 of 2", "3 of 2"]
