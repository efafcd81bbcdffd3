"""`deploy init --scale small`, as it comes, on one systemd host without a balancer: nobody is refused in any change."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sizes import begun, there_and_back
from support.traffic import traffic

from deployer.lab import LabSpec, up

pytestmark = [pytest.mark.machines, pytest.mark.more]

CHANGES = 3
PATIENCE = 60.0  # seconds: a request may wait here for as long as the app's end and start take


@pytest.mark.timeout(1200)
def test_small_changes_under_its_users(lab_name: str, tmp_path: Path) -> None:
    lab = up(LabSpec(name=lab_name, kind="machines", hosts=1, balancer="none"), print)
    project = begun(tmp_path, lab.name, "small")
    project.deploy("setup")
    first = project.deploy("push")
    address = f"{lab.hosts['web1']['host']}:8000"
    with traffic(address, tmp_path / "log", rate=12, limit=PATIENCE) as users:
        second, _ = there_and_back(project)
        # The same release again by SIGHUP, which uvicorn's two workers take one after the other.
        project.deploy("reload", "--strategy", "reload")
    receipt = users.receipt
    assert receipt is not None and receipt.requests >= 100, receipt
    print(f"small: {receipt.failed} of {receipt.requests} failed ({receipt.causes}), {receipt.max_ms} ms at most")
    # docs/strategies.md: uvicorn's race, at most one request a restart; nothing is refused.
    assert set(receipt.causes) <= {"reset", "closed"}, (receipt.causes, receipt.failures[:10])
    assert receipt.failed <= CHANGES, (receipt.causes, receipt.failures[:10])
    assert set(receipt.releases) <= {first.release, second.release}
    assert second.of("plan.made")[0]["plan"]["strategy"] == "socket"
