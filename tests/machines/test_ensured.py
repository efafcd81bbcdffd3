"""What setup and push establish is ensured again at every run, on real hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hit import until
from support.labs import running
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab

SETTINGS = {
    "domains": ["shop.test"],
    "health": {"within": "20s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "strategy": "restart"},
    "processes": {"worker": {"command": "sleep 100000"}},
    "schedules": {"nightly": {"command": "true", "cron": "0 3 * * *", "timezone": "UTC", "hosts": "web1"}},
}
UNITS = ["shop@8000.service", "shop-worker@1.service", "shop-nightly.timer"]
pytestmark = [pytest.mark.more, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(kind="machines", hosts=2) as made:
        yield made


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The app as it serves after a first push."""
    shop = Project(tmp_path_factory.mktemp("ensured") / "shop", lab.name, "shop", SETTINGS)
    shop.deploy("setup")
    shop.deploy("push")
    return shop


def sh(lab: Lab, host: str, script: str) -> str:
    return lab.exec(host, ["sh", "-c", script]).stdout.strip()


def enabled(lab: Lab, host: str, *units: str) -> list[str]:
    return sh(lab, host, "systemctl is-enabled " + " ".join(units)).split()


def test_units_that_somebody_disabled_are_named_and_enabled_again(lab: Lab, shop: Project, tmp_path: Path) -> None:
    sh(lab, "web1", "systemctl disable " + " ".join(UNITS))
    sh(lab, "lb1", "systemctl disable haproxy")
    doctor = shop.deploy("doctor", expect=3)
    assert all(unit in doctor.error["message"] for unit in (*UNITS, "haproxy")), doctor.summary
    verify = shop.deploy("verify", expect=7)
    assert verify.error["message"].startswith("3 of "), verify.summary
    with traffic(lab.address, tmp_path / "log", host_header="shop.test") as users:
        push = shop.deploy("push")
    users.demand(proven={push.release}, at_least=20)
    assert enabled(lab, "web1", *UNITS) == ["enabled"] * 3
    assert enabled(lab, "lb1", "haproxy") == ["enabled"]
    assert not [event for event in push.of("step.started") if event["step"] == "switch"], push.summary
    assert shop.deploy("push").last["outcome"] == "unchanged"


def test_a_host_with_a_new_root_file_system_comes_back_at_the_first_push(lab: Lab, shop: Project) -> None:
    """As after a new image: the user, the units and deploy's record are gone; /srv is the old one."""
    sh(
        lab,
        "web1",
        f"systemctl stop {' '.join(UNITS)}; systemctl disable {' '.join(UNITS)}; userdel shop; "
        "useradd --system stranger; rm -f /etc/systemd/system/shop*; rm -rf /var/lib/deploy; systemctl daemon-reload",
    )
    shop.deploy("setup")
    push = shop.deploy("push")
    assert push.last["hosts"]["web1"]["instances"]["0"]["state"] == "proven", push.summary
    assert enabled(lab, "web1", *UNITS) == ["enabled"] * 3
    lab.power_off("web1")
    lab.power_on("web1")
    until("the instance serves after the boot", lambda: shop.deploy("status", expect=None).exit == 0, 60)
    assert sh(lab, "web1", "systemctl is-active " + " ".join(UNITS)).split() == ["active"] * 3


DAMAGES = {
    "push": "ln -sfn /usr/bin/python3.99 bin/python",
    "reload": "rm -rf lib/python*/site-packages/uvicorn",
    "rollback": 'venv=$(pwd -P) && cd / && rm -rf "$venv"',
}


def test_a_damaged_virtualenv_is_rebuilt_before_anything_stops(lab: Lab, shop: Project, tmp_path: Path) -> None:
    """The app is asked all the time: what serves from memory goes on while its virtualenv is rebuilt beside it.

    The limit is generous: two hosts and the installers share this machine's processors.
    """
    releases = {shop.deploy("push").release}
    shop.version("with a later release")
    releases.add(shop.deploy("push").release)
    with traffic(lab.address, tmp_path / "log", host_header="shop.test", limit=60.0) as users:
        for command, damage in DAMAGES.items():
            sh(lab, "web1", f"cd /srv/shop/current/.venv/ && {damage}")
            doctor = shop.deploy("doctor", expect=3)
            assert doctor.error["code"] == "venv_damaged", doctor.summary
            done = shop.deploy(command)
            assert done.last["outcome"] == "succeeded", done.summary
            assert [event["host"] for event in done.of("step.finished") if event["step"] == "repair" and event["ok"]]
            assert sh(lab, "web1", "/srv/shop/current/.venv/bin/python -c 'import uvicorn; print(1)'") == "1"
            shop.deploy("doctor")
    users.demand(proven=releases, at_least=100)
