"""Fleets of other shapes, on real hosts with users: ten hosts, three with two instances each, and one all alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.inventories import inventory
from support.labs import fresh_name
from support.project import Done, Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(1500)]

TEN = tuple(f"web{number}" for number in range(1, 11))
WITHIN = 900.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Ten web hosts and one for HAProxy, each a booted systemd."""
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="machines", hosts=len(TEN)), print)
    finally:
        down(name, print)


class Fleet:
    """An app on some hosts of the lab, pushed once."""

    def __init__(self, lab: Lab, folder: Path, inventory: Path, app: str, port: int, **settings: Any) -> None:
        own = {
            "app": app,
            "domains": [f"{app}.test"],
            "port": port,
            "runtime": {"workers": 1, "graceful_timeout": "5s"},
            "health": {"within": "60s"},
            "rolling": {"drain_timeout": "2s", "soak": "500ms", **settings.pop("rolling", {})},
            **settings,
        }
        self.inventory = inventory
        self.project = Project(folder / app, lab.name, "shop", own)
        self.deploy("setup")
        self.first = self.deploy("push").release

    def deploy(self, *args: str, expect: int = 0) -> Done:
        return self.project.deploy(*args, "-i", str(self.inventory), expect=expect, within=WITHIN)

    def push(self, number: int, *args: str) -> Done:
        """A push of another version."""
        self.project.version(number)
        return self.deploy("push", *args)


def waves(done: Done) -> list[int]:
    """How many instances each wave changed."""
    return [len(event["instances"]) for event in done.of("wave.started")]


def served(done: Done) -> list[str]:
    """What every instance serves, in the order of hosts; fails where one does not prove it."""
    found = [instance for host in done.last["hosts"].values() for instance in host["instances"].values()]
    assert {each["state"] for each in found} == {"proven"}, found
    return [each["release"] for each in found]


def test_ten_hosts_one_first_and_then_a_quarter_at_a_time(lab: Lab, tmp_path: Path) -> None:
    """A quarter of ten is two: percentages are rounded down."""
    where = inventory(lab, tmp_path / "ten.yaml", TEN, ["lb1"])
    fleet = Fleet(lab, tmp_path, where, "ten", 8000, rolling={"waves": [1, "25%"]})
    with traffic(lab.address, tmp_path / "log", rate=25, host_header="ten.test") as users:
        second = fleet.push(2)
        back = fleet.deploy("rollback")
    assert waves(second) == waves(back) == [1, 2, 2, 2, 2, 1]
    assert served(fleet.deploy("status")) == [fleet.first] * 10
    users.demand(proven={fleet.first, second.release}, at_least=300, rate=15)


def test_three_hosts_with_two_instances_each(lab: Lab, tmp_path: Path) -> None:
    where = inventory(lab, tmp_path / "three.yaml", TEN[:3], ["lb1"])
    fleet = Fleet(
        lab, tmp_path, where, "three", 8100, instances=2, rolling={"waves": [1, 2, 3], "max_unavailable": "50%"}
    )
    with traffic(lab.address, tmp_path / "log", rate=25, host_header="three.test") as users:
        second = fleet.push(2)
        third = fleet.push(3, "--strategy", "bluegreen")
        reloaded = fleet.deploy("reload")
        back = fleet.deploy("rollback")
    assert waves(second) == waves(third) == waves(reloaded) == [1, 2, 3]
    assert back.release == second.release
    assert served(fleet.deploy("status")) == [second.release] * 6
    users.demand(proven={fleet.first, second.release, third.release}, at_least=300, rate=15)
    fleet.deploy("verify")


def test_one_host_with_one_instance_behind_a_balancer_of_its_own(lab: Lab, tmp_path: Path) -> None:
    """The smallest fleet that loses nothing: HAProxy on the app's host, and a successor in the other slot."""
    where = inventory(lab, tmp_path / "one.yaml", ["web10"], ["web10"])
    fleet = Fleet(lab, tmp_path, where, "one", 8200)
    with traffic(f"{lab.hosts['web10']['host']}:80", tmp_path / "log", rate=25, host_header="one.test") as users:
        second = fleet.push(2)
        fleet.project.breaks("health")
        broken = fleet.deploy("push", expect=5)
        fleet.project.mends()
        reloaded = fleet.deploy("reload")
        back = fleet.deploy("rollback")
    assert {done.of("plan.made")[0]["plan"]["strategy"] for done in (second, reloaded, back)} == {"bluegreen"}
    assert broken.last["outcome"] == "rolled_back"
    assert (reloaded.release, back.release) == (second.release, fleet.first)
    assert served(fleet.deploy("status")) == [fleet.first]
    users.demand(proven={fleet.first, second.release}, at_least=200, rate=15)
    fleet.deploy("verify")
