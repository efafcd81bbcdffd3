"""Caddy as a systemd service on a real balancer host: it is given to the host, rolled behind, and outlives a reboot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.caddy import real_caddy
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(1500)]

QUICK = {
    "health": {"within": "60s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1], "max_unavailable": 1},
}


@pytest.fixture(scope="module")
def caddies() -> Iterator[Lab]:
    """Two web hosts and one for Caddy, each a booted systemd."""
    real_caddy()
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, hosts=2, balancer="caddy"), print)
    finally:
        down(name, print)


def pool(lab: Lab) -> list[str]:
    """Every slot's file on the balancer host, `NAME:WHERE ITS REQUESTS GO`."""
    folder = f"/var/lib/deploy/caddy-slots/shop-{lab.name}"
    found = lab.exec("lb1", ["sh", "-c", f"cd {folder} && grep -H . *"])
    return sorted(found.stdout.split())


def test_two_pushes_and_a_reboot_of_the_balancer(caddies: Lab, tmp_path: Path) -> None:
    lab = caddies
    shop = Project(tmp_path / "shop", lab.name, "shop", QUICK)
    shop.deploy("setup", within=600)
    again = shop.deploy("setup", within=600)
    assert again.last["outcome"] == "unchanged", again.of("output")
    first = shop.deploy("push", within=600)
    with traffic(lab.address, tmp_path / "log", rate=25) as users:
        shop.version(2)
        second = shop.deploy("push", within=600)
        shop.version(3)
        third = shop.deploy("push", within=600)
    users.demand(proven={first.release, second.release, third.release}, at_least=200, rate=15)
    shop.deploy("verify", within=600)

    user = lab.exec("lb1", ["sh", "-c", "ps -o user= -p $(systemctl show -p MainPID --value deploy-caddy)"])
    assert user.stdout.strip() in ("deploy-+", "deploy-caddy"), user
    shop.deploy("drain", "web2", "--reason", "a broken disk")
    drained = pool(lab)
    assert sum("nonexistent/drain" in each for each in drained) == 1, drained
    # A run that dies with the host's power: its drain has nobody left to undo it.
    file = next(each.partition(":")[0] for each in drained if each.startswith("web1") and "nonexistent" not in each)
    path = f"/var/lib/deploy/caddy-slots/shop-{lab.name}/{file}"
    lab.exec("lb1", ["sh", "-c", f"echo unix//nonexistent/drain > {path}"])
    records = Path(lab.folder) / "hosts/lb1/srv/shop/.deploy/drained.json"
    held = json.loads(records.read_text())
    records.write_text(json.dumps({**held, file: {**next(iter(held.values())), "by": "run", "run": "dead"}}))
    lab.power_off("lb1")
    lab.power_on("lb1")
    lines = shop.show("status", within=600)
    assert pool(lab) == drained
    assert lines.count("[lb1: UP]") == 1 and lines.count("[lb1: DRAIN]") == 1, lines
    with traffic(lab.address, tmp_path / "after", mix="http", rate=25) as users:
        admitted = shop.deploy("admit", "web2", within=600)
    users.demand(proven={third.release}, at_least=20, rate=1)
    assert admitted.last["outcome"] == "succeeded"
