"""Two ordinary things at once, with users: other ports or another health check, and not all come along.

`make more`: each test waits for several pushes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.project import Done, Project
from support.traffic import traffic

from deployer.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(900)]

SETTINGS: dict[str, Any] = {
    "health": {"within": "10s"},
    "runtime": {"workers": 1, "graceful_timeout": "3s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms"},
}
READY = """

app.add_route("/ready", healthz)
"""
NOT_ON_WEB2 = "breakage.at_boot()\n    if '/web2/' in os.getcwd():\n        raise RuntimeError('not on this host')"


def project(lab: Lab, folder: Path, app: str, port: int) -> Project:
    made = Project(folder / app, lab.name, "shop", {"app": app, "domains": [f"{app}.test"], "port": port, **SETTINGS})
    made.deploy("setup")
    return made


def serves(done: Done) -> dict[str, set[tuple[int, str]]]:
    """Host → the ports and releases of what serves there."""
    return {
        host: {(each["port"], each["release"]) for each in found["instances"].values()}
        for host, found in done.last["hosts"].items()
        if found.get("instances")
    }


def test_another_health_check_comes_and_goes_with_its_release(lab: Lab, tmp_path: Path) -> None:
    """The release of before answers the new path with 404: a rollback to it would never be up for the balancer."""
    shop = project(lab, tmp_path, "asked", 8210)
    first = shop.deploy("push").release
    code = (shop.folder / "main.py").read_text()
    with traffic(lab.address, tmp_path / "log", host_header="asked.test") as users:
        shop.settings({"health": {"path": "/ready", "within": "10s"}})
        shop.commit("asked otherwise", main__py=code + READY)
        second = shop.deploy("push").release
        assert shop.deploy("rollback").release == first
        assert all(found == {(8210, first)} for found in serves(shop.deploy("status")).values())
        assert shop.deploy("reload").release == first
        again = shop.deploy("push").release
        assert again == second
        shop.deploy("verify")
    users.demand(proven={first, second}, at_least=300)


def test_other_ports_and_one_that_stays_behind(lab: Lab, tmp_path: Path) -> None:
    """It goes on serving at its port of before, which the balancers keep, and comes along later."""
    shop = project(lab, tmp_path, "stays", 8230)
    first = shop.deploy("push").release
    code = (shop.folder / "main.py").read_text()
    with traffic(lab.address, tmp_path / "log", host_header="stays.test") as users:
        shop.settings({"port": 8240, "rolling": {**SETTINGS["rolling"], "max_failures": 1}})
        shop.commit("not everywhere", main__py=code.replace("breakage.at_boot()", NOT_ON_WEB2))
        half = shop.deploy("push", expect=8)
        ours = serves(shop.deploy("status", expect=None))
        assert ours["web1"] == ours["web3"] == {(8240, half.release)}, ours
        shop.commit("everywhere", main__py=code)
        whole = shop.deploy("push")
        assert all(found == {(8240, whole.release)} for found in serves(shop.deploy("status")).values())
    users.demand(proven={first, half.release, whole.release}, at_least=300)
