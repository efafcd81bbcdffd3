"""The main job behind nginx, without root: real sshd, supervisord and nginx processes, real traffic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = pytest.mark.lab

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


def test_pushes_a_broken_push_a_rollback_a_reload_and_another_app(nginx_lab: Lab, tmp_path: Path) -> None:
    shop = Project(tmp_path / "shop", nginx_lab.name, "shop", QUICK)
    shop.deploy("setup")
    assert shop.deploy("setup").last["outcome"] == "unchanged"
    first = shop.deploy("push")
    before = workers(nginx_lab)
    with traffic(nginx_lab.address, tmp_path / "log") as users:
        shop.version(2)
        second = shop.deploy("push")
        shop.breaks("health")
        broken = shop.deploy("push", expect=5)
        shop.mends()
        back = shop.deploy("rollback")
        reloaded = shop.deploy("reload", "--rolling")
    users.demand(proven={first.release, second.release}, at_least=300)
    assert (broken.last["outcome"], back.release, reloaded.release) == ("rolled_back", first.release, first.release)
    assert workers(nginx_lab) == before, "something reloaded nginx"
    shop.deploy("verify")

    notes = Project(tmp_path / "notes", nginx_lab.name, "notes", {"port": 8200, "domains": ["notes.test"], **QUICK})
    with traffic(nginx_lab.address, tmp_path / "log2") as users:
        notes.deploy("setup")
        notes.deploy("push")
    # The one reload closes idle connections: nginx before 1.27.4 has no way to let them have one more request.
    receipt = users.demand(proven={first.release}, at_least=50, stale=3)
    print(f"another app: {receipt.stale} stale of {receipt.requests}")
    assert workers(nginx_lab) != before
