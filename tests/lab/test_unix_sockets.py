"""Instances that listen at UNIX sockets, behind a balancer on their own host: all that ports can do, under traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.inventories import inventory
from support.judged import ROLLING, goes_back, judged, pushed
from support.project import Project
from support.traffic import traffic

from deployer.agent.system import procfs
from deployer.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(900)]

QUICK: dict[str, Any] = {
    "bind": "unix",
    "python": {"with": ["gunicorn", "uvicorn-worker"]},
    "health": {"within": "30s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "3s", "soak": "500ms"},
}


def test_everything_goes_by_sockets_and_nobody_notices(small: tuple[Lab, str], tmp_path: Path) -> None:
    lab, kind = small
    where = ("-i", str(inventory(lab, tmp_path / "one.yaml", ["lb1"], ["lb1"], kind)))
    shop = Project(tmp_path / "shop", lab.name, "shop", QUICK)
    shop.deploy("setup", *where)
    first = shop.deploy("push", *where).release
    folder = f"{lab.folder}/hosts/lb1/root/run/deploy/shop-{lab.name}"
    assert procfs.unix_listeners([f"{folder}/8000.sock"])
    here = lab.address.partition(":")[0]
    assert not [found for found in procfs.listeners([8000, 8500]) if found.address == here]

    proven = {first}
    with traffic(lab.address, tmp_path / "log") as users:
        shop.version(2)
        proven.add(shop.deploy("push", *where).release)  # uvicorn, into the other slot
        for number, (server, workers) in enumerate([("uvicorn", 2), ("gunicorn+uvicorn", 2)]):
            shop.settings({"runtime": {**QUICK["runtime"], "server": server, "workers": workers}})
            shop.version(3 + number)
            proven.add(shop.deploy("push", *where).release)
        shop.deploy("reload", *where)
        shop.breaks("health")
        assert shop.deploy("push", *where, expect=5).last["outcome"] == "rolled_back"
        shop.mends()
        proven.add(shop.deploy("rollback", *where).release)
    users.demand(proven=proven, at_least=300)
    shop.deploy("verify", *where)


def test_a_bind_is_changed_with_the_ports_and_not_without(small: tuple[Lab, str], tmp_path: Path) -> None:
    lab, kind = small
    where = ("-i", str(inventory(lab, tmp_path / "one.yaml", ["lb1"], ["lb1"], kind)))
    shop = Project(tmp_path / "shop", lab.name, "shop", {**QUICK, "bind": "port"})
    shop.deploy("setup", *where)
    at_port = shop.deploy("push", *where).release
    with traffic(lab.address, tmp_path / "log") as users:
        shop.settings({"bind": "unix"})
        shop.version(2)
        refused = shop.deploy("push", *where, expect=2).error
        assert "in the same slots" in refused["message"] and "also change port: (such as 8501)" in refused["hint"]
        shop.settings({"port": 8100})
        shop.deploy("setup", *where)
        at_socket = shop.deploy("push", *where).release
        refused = shop.deploy("rollback", *where, expect=2).error
        assert at_port in refused["message"]
    # A changed pool is a reload of nginx, which closes the idle connections of its moment: three of the probe at most.
    users.demand(proven={at_port, at_socket}, at_least=100, stale=9 if kind == "nginx" else 0)
    status = shop.deploy("status", *where).last["hosts"]["lb1"]
    assert [each["port"] for each in status["instances"].values()] == [8100]


def test_the_canary_is_judged_by_what_goes_by_sockets(small: tuple[Lab, str], tmp_path: Path) -> None:
    """A balancer's figures name a socket otherwise than its configuration does."""
    lab, kind = small
    where = ("-i", str(inventory(lab, tmp_path / "one.yaml", ["lb1"], ["lb1"], kind)))
    settings = {**QUICK, "instances": 2, "domains": ["judged.test"], "rolling": {**ROLLING, "waves": [1, 1]}}
    shop = Project(tmp_path / "shop", lab.name, "shop", settings)
    shop.deploy("setup", *where)
    before = shop.deploy("push", *where).release
    shop.breaks("errors 20")
    done, seen = pushed(shop, lab, tmp_path / "log", "judged.test", *where, expect=5)
    goes_back(done, seen, before, "of its requests fail")
    verdict = judged(done)
    assert verdict["compared"] == "meanwhile" and verdict["old"]["requests"] >= 50
