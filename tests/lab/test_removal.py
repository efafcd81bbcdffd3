"""The app leaves hosts, one and all: real sshd, supervisord and HAProxy, real traffic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab

QUICK = {
    "health": {"within": "20s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "0", "waves": [3], "max_unavailable": 1},
}


@pytest.mark.more
@pytest.mark.timeout(900)
def test_one_of_three_leaves_under_traffic_and_then_all(lab: Lab, tmp_path: Path) -> None:
    """Not a request is lost; the host counts as not set up until setup brings it back; in the end nothing is left."""
    settings = {**QUICK, "app": "leaver", "domains": ["leaver.test"], "port": 8130}
    shop = Project(tmp_path / "shop", lab.name, "shop", settings)
    shop.deploy("setup")
    pushed = shop.deploy("push")
    root = Path(lab.folder) / "hosts" / "web3" / "root"
    site = root / "srv/leaver"
    (site / "shared/kept").write_text("what users uploaded")

    refused = shop.deploy("remove", "-l", "web3", expect=2)
    assert refused.error["hint"] == "add --yes" and (site / "current").is_symlink()
    shop.deploy("freeze", "--reason", "the sale is on")
    shop.deploy("remove", "-l", "web3", "--yes", expect=4)
    shop.deploy("unfreeze")

    with traffic(lab.address, tmp_path / "log", host_header="leaver.test") as users:
        gone = shop.deploy("remove", "-l", "web3", "--yes")
        shop.deploy("remove", "-l", "web3", "--yes")
    users.demand(proven={pushed.release}, at_least=50)
    assert gone.last["hosts"] == {"web3": {"outcome": "removed", "instances": {}}}
    assert any("inventory" in each["line"] for each in gone.of("output"))
    assert (site / "shared/kept").read_text() == "what users uploaded"
    assert sorted(path.name for path in site.iterdir()) == [".deploy", "shared"]
    assert not (site / ".deploy/secrets.env").exists()
    assert not (root / "etc/supervisor/conf.d/leaver.conf").exists()
    pool = Path(lab.folder) / f"hosts/lb1/root/etc/haproxy/deploy/50-leaver-{lab.name}.cfg"
    assert "web3" not in pool.read_text() and "web2-8130" in pool.read_text()
    assert "remove" in [each["command"] for each in shop.deploy("history").last["data"]["runs"]]

    not_there = shop.deploy("push", expect=3)
    assert not_there.error["code"] == "removed" and f"deploy setup {lab.name}" in not_there.error["hint"]

    shop.deploy("remove", "--yes")
    shop.deploy("remove", "--yes")
    assert not pool.exists()
    for host in ("web1", "web2", "web3"):
        state = json.loads((Path(lab.folder) / "hosts" / host / "root/srv/leaver/.deploy/site.json").read_text())
        assert state["removed"]["who"]
    shop.deploy("setup")
    assert shop.deploy("push").last["outcome"] == "succeeded"
    shop.deploy("remove", "--yes")
