"""Debian's nginx under systemd: two pushes nobody notices, and what a person drained outlives the host's reboot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

QUICK = {
    "health": {"within": "20s"},
    "runtime": {"workers": 2, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms"},
}


@pytest.fixture(scope="module")
def nginx_lab() -> Iterator[Lab]:
    """Two web hosts and one for nginx, each a booted systemd."""
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="machines", hosts=2, balancer="nginx"), print)
    finally:
        down(name, print)


def on_lb(lab: Lab, command: str) -> str:
    """What a command on the balancer's host says; it must succeed."""
    done = lab.exec("lb1", ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.mark.more
def test_two_pushes_under_traffic_and_gates_that_outlive_everything(nginx_lab: Lab, tmp_path: Path) -> None:
    shop = Project(tmp_path / "shop", nginx_lab.name, "shop", QUICK)
    shop.deploy("setup")
    assert shop.deploy("setup").last["outcome"] == "unchanged"
    assert "sites-available/default" in on_lb(nginx_lab, "readlink /etc/nginx/sites-enabled/default")
    first = shop.deploy("push")
    with traffic(nginx_lab.address, tmp_path / "log") as users:
        shop.version(2)
        second = shop.deploy("push")
        shop.version(3)
        third = shop.deploy("push")
    users.demand(proven={first.release, second.release, third.release}, at_least=300)
    shop.deploy("verify")

    on_lb(nginx_lab, f"echo drain > /var/lib/deploy-nginx/gates/shop-{nginx_lab.name}/web1-8000")
    on_lb(nginx_lab, "kill -9 $(cat /run/nginx.pid); systemctl restart nginx")
    assert balancer_states(shop) == {"web1": "DRAIN", "web2": "UP"}
    nginx_lab.power_off("lb1")
    nginx_lab.power_on("lb1")
    assert balancer_states(shop) == {"web1": "DRAIN", "web2": "UP"}
    with traffic(nginx_lab.address, tmp_path / "log2") as users:
        on_lb(nginx_lab, f"rm /var/lib/deploy-nginx/gates/shop-{nginx_lab.name}/web1-8000")
        shop.deploy("reload", "--rolling")
    users.demand(proven={third.release}, at_least=50)
    assert balancer_states(shop) == {"web1": "UP", "web2": "UP"}


def balancer_states(shop: Project) -> dict[str, str]:
    """Web host → the balancer's word for its instance."""
    said = re.compile(r"^(web\d):0 port 8000 .* \[lb1: (\w+)\]$")
    found = (said.match(line) for line in shop.show("status").splitlines())
    return {match[1]: match[2] for match in found if match}
