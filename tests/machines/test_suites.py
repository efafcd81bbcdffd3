"""The main job on Debians that no other test has: the newest, and the oldest that is promised (`make suites`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, up

pytestmark = [pytest.mark.machines, pytest.mark.more]
SETTINGS = {
    "app": "shop",
    "runtime": {"workers": 2, "graceful_timeout": "5s"},
    "health": {"within": "20s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}


def goes_unnoticed(project: Project, lab: Lab, log: Path) -> None:
    """The first push, then a second and a rollback while users are there."""
    project.deploy("setup")
    first = project.deploy("push").release
    with traffic(lab.address, log, rate=25) as users:
        project.version(2)
        second = project.deploy("push").release
        back = project.deploy("rollback").release
    assert back == first
    users.demand(proven={first, second}, at_least=200)
    project.deploy("verify")


def test_trixie(lab_name: str, tmp_path: Path) -> None:
    """systemd 257, Python 3.13, OpenSSH 10, HAProxy 3.0."""
    lab = up(LabSpec(name=lab_name, hosts=3, suite="trixie"), print)
    project = Project(tmp_path / "shop", lab.name, settings=SETTINGS)
    goes_unnoticed(project, lab, tmp_path / "log")
    outdated = lab.exec("web1", ["systemctl", "show", "--property=NeedDaemonReload", "--value", "ssh.service"])
    assert outdated.stdout.strip() == "no", "enabling an instance leaves the host's other units as they were"


def test_bullseye(lab_name: str, tmp_path: Path) -> None:
    """systemd 247, Python 3.9, OpenSSH 8.4, and an HAProxy that is too old: the balancer is a bookworm."""
    lab = up(LabSpec(name=lab_name, hosts=3, suite="bullseye"), print)
    project = Project(tmp_path / "shop", lab.name, settings=SETTINGS)
    goes_unnoticed(project, lab, tmp_path / "log")

    too_old = inventory(lab, tmp_path / "too_old.yaml", balancer="web3")
    refused = project.deploy("setup", "-i", str(too_old), expect=3).error
    assert (refused["code"], refused["host"]) == ("too_old", "web3")
    assert "haproxy is 2.2.9" in refused["message"] and "2.4 or later is needed" in refused["message"]
    assert lab.exec("web3", ["test", "-e", "/etc/haproxy/deploy"]).returncode == 1, "nothing was changed"

    project.settings({"python": {"version": "3.11"}})
    asked = project.deploy("push", expect=3).error
    assert (asked["code"], asked["host"]) == ("no_python", "web1")
    assert 'python: {version: "3.9"}' in asked["hint"] and "uv python install 3.11" in asked["hint"]
    assert project.deploy("doctor", expect=3).error == asked

    project.settings({"python": {}})
    project.commit("too new", breakage__py="MODE = ''\nat_boot = int | str\n")
    broken = project.deploy("push", expect=5).error
    assert "the app's check (on Python 3.9.2) failed in the new release: TypeError" in broken["message"]


def inventory(lab: Lab, path: Path, balancer: str) -> Path:
    """The lab's inventory with one of its web hosts as the balancer."""
    yaml = YAML(typ="safe")
    data = yaml.load(Path(lab.inventory).read_text())
    data["balancers"]["hosts"] = {balancer: data["web"]["hosts"].pop(balancer)}
    with path.open("w") as out:
        yaml.dump(data, out)
    return path
