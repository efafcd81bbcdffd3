"""Units with which nothing starts: the release of before is started by the units of before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

SETTINGS = {
    "domains": ["shop.test"],
    "health": {"within": "20s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "strategy": "restart"},
}
UNIT = "/etc/systemd/system/shop@.service"


@pytest.fixture
def lab() -> Iterator[Lab]:
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="machines", hosts=2), print)
    finally:
        down(name, print)


@pytest.mark.more
@pytest.mark.timeout(900)
def test_units_with_which_nothing_starts_cost_nobody_anything(lab: Lab, tmp_path: Path) -> None:
    shop = Project(tmp_path / "shop", lab.name, "shop", SETTINGS)
    shop.deploy("setup")
    first = shop.deploy("push").release
    before = [lab.exec(host, ["cat", UNIT]).stdout for host in ("web1", "web2")]
    with traffic(lab.address, tmp_path / "log", host_header="shop.test") as users:
        shop.settings({"unit": {"LimitNOFILE": 3}})
        shop.version(2)
        broken = shop.deploy("push", expect=5)
        assert broken.last["outcome"] == "rolled_back", broken.summary
        assert [lab.exec(host, ["cat", UNIT]).stdout for host in ("web1", "web2")] == before
        shop.settings({"unit": {}})
        second = shop.deploy("push").release
    users.demand(proven={first, second}, at_least=100)
