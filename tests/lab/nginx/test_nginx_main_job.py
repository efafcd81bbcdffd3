"""The main job behind nginx, without root: real sshd, supervisord and nginx processes, real traffic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(900)]

QUICK = {
    "health": {"within": "20s"},
    "runtime": {"workers": 2, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}


@pytest.fixture(scope="module")
def nginx_lab() -> Iterator[Lab]:
    """Three web hosts and an nginx, each an sshd and a supervisord."""
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=3, balancer="nginx"), print)
    finally:
        down(name, print)


def workers(lab: Lab) -> list[str]:
    """The process ids of nginx's workers: others after a reload."""
    master = (Path(lab.folder) / "hosts/lb1/root/run/nginx.pid").read_text().strip()
    return Path(f"/proc/{master}/task/{master}/children").read_text().split()


@pytest.fixture(scope="module")
def shop(nginx_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example app, set up and pushed once."""
    project = Project(tmp_path_factory.mktemp("main") / "shop", nginx_lab.name, "shop", QUICK)
    project.deploy("setup")
    assert project.deploy("setup").last["outcome"] == "unchanged"
    project.deploy("push")
    return project


def current(shop: Project) -> str:
    """The release that every instance serves."""
    hosts = shop.deploy("status").last["hosts"].values()
    (release,) = {instance["release"] for host in hosts for instance in host["instances"].values()}
    return str(release)


def test_a_push_a_broken_one_a_rollback_and_a_reload(shop: Project, nginx_lab: Lab, tmp_path: Path) -> None:
    first, before = current(shop), workers(nginx_lab)
    with traffic(nginx_lab.address, tmp_path / "log") as users:
        shop.version(2)
        second = shop.deploy("push")
        shop.breaks("health")
        broken = shop.deploy("push", expect=5)
        shop.mends()
        back = shop.deploy("rollback")
        reloaded = shop.deploy("reload", "--rolling")
    users.demand(proven={first, second.release}, at_least=300)
    assert (broken.last["outcome"], back.release, reloaded.release) == ("rolled_back", first, first)
    assert workers(nginx_lab) == before, "something reloaded nginx"
    shop.deploy("verify")


def test_blue_green_into_the_other_slots_and_back(shop: Project, nginx_lab: Lab, tmp_path: Path) -> None:
    first, before = current(shop), workers(nginx_lab)
    with traffic(nginx_lab.address, tmp_path / "log") as users:
        shop.version(3)
        there = shop.deploy("push", "--strategy", "bluegreen")
        shop.version(4)
        back = shop.deploy("push", "--strategy", "bluegreen")
    users.demand(proven={first, there.release, back.release}, at_least=200)
    assert workers(nginx_lab) == before, "something reloaded nginx"


def test_another_app_costs_one_reload_and_no_request(shop: Project, nginx_lab: Lab, tmp_path: Path) -> None:
    first, before = current(shop), workers(nginx_lab)
    notes = Project(tmp_path / "notes", nginx_lab.name, "notes", {"port": 8200, "domains": ["notes.test"], **QUICK})
    with traffic(nginx_lab.address, tmp_path / "log") as users:
        notes.deploy("setup")
        notes.deploy("push")
    # The one reload closes idle connections: nginx before 1.27.4 has no way to let them have one more request.
    receipt = users.demand(proven={first}, at_least=50, stale=3)
    print(f"another app: {receipt.stale} stale of {receipt.requests}")
    assert workers(nginx_lab) != before
