"""`deploy init --scale medium` and `large`, as they come, behind a balancer: no request fails in any change."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sizes import begun, there_and_back
from support.traffic import traffic

from deployer.lab import LabSpec, up
from deployer.settings.init.size_presets import Size

pytestmark = pytest.mark.more


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("size", "hosts", "ports", "strategy"),
    [("medium", 1, {8000, 8500}, "bluegreen"), ("large", 2, {8000, 8001}, "restart")],
)
def test_a_size_changes_under_its_users(
    lab_name: str, tmp_path: Path, size: Size, hosts: int, ports: set[int], strategy: str
) -> None:
    lab = up(LabSpec(name=lab_name, kind="processes", hosts=hosts), print)
    project = begun(tmp_path, lab.name, size)
    project.deploy("setup")
    first = project.deploy("push")
    # Requests are late here only where a shared machine starts many workers at once.
    with traffic(lab.address, tmp_path / "log", host_header="shop.example.com", rate=12, limit=60.0) as users:
        second, back = there_and_back(project)
    receipt = users.demand(proven={first.release, second.release}, at_least=100, rate=5)
    print(f"{size}: {receipt.failed} of {receipt.requests} failed, {receipt.max_ms} ms at most")
    assert second.of("plan.made")[0]["plan"]["strategy"] == strategy
    found = [each for host in back.last["hosts"].values() for each in host["instances"].values()]
    assert {each["port"] for each in found} <= ports and len(found) == (1 if size == "medium" else 4)
    assert {each["state"] for each in found} == {"proven"}
