"""Promotion, another size and other ports on real processes, with two environments in one lab, under real traffic."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab
from deployer.lab.place import inventory_of

QUICK = {
    "health": {"within": "120s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "0", "waves": [2]},
}


def two_environments(lab: Lab, folder: Path) -> tuple[Project, Project]:
    """`staging` is web1, `live` web2 and web3, each behind the lab's balancer, with settings of its own."""
    settings = {**QUICK, "app": "mover", "domains": ["mover.test"], "port": 8140}
    staging = Project(folder / "shop", "staging", "shop", settings)
    yaml = YAML(typ="safe")
    whole = yaml.load(Path(str(inventory_of(lab.name))).read_text())
    (staging.folder / "inventories").mkdir(exist_ok=True)
    for env, names in {"staging": ["web1"], "live": ["web2", "web3"]}.items():
        hosts = {name: whole["web"]["hosts"][name] for name in names}
        with (staging.folder / "inventories" / f"{env}.yaml").open("w") as file:
            yaml.dump({**whole, "web": {**whole["web"], "hosts": hosts}}, file)
    (staging.folder / "deploy.staging.yaml").write_text("domains: [staging.test]\nroot: /srv/mover-staging\n")
    live = copy.copy(staging)
    live.env = "live"
    return staging, live


@pytest.mark.more
@pytest.mark.timeout(1500)
def test_what_staging_has_proven_goes_live_and_grows_there(lab: Lab, tmp_path: Path) -> None:
    staging, live = two_environments(lab, tmp_path)
    staging.deploy("setup")
    live.deploy("setup")
    staging.version(1)
    assert live.deploy("push", "--from", "staging", expect=3).error["code"] == "not_proven"
    tested = staging.deploy("push")
    staging.version("2, which nobody has tested")

    planned = live.deploy("plan", "--from", "staging")
    assert tested.release in planned.last["data"]["plan"]["source"]
    promoted = live.deploy("push", "--from", "staging")
    site = Path(lab.folder) / "hosts/web2/root/srv/mover"
    assert (site / "current/VERSION").read_text() == "1\n"
    assert live.deploy("push", "--from", "staging").last["outcome"] == "unchanged"
    listed = {each["id"]: each for each in live.deploy("releases").last["data"]["releases"]}
    assert listed[promoted.release]["origin"] == {"env": "staging", "release": tested.release}, listed

    with traffic(lab.address, tmp_path / "log", host_header="mover.test") as users:
        more = live.deploy("scale", "--instances", "2", "--yes", within=900)
        fewer = live.deploy("scale", "--instances", "1", "--workers", "2", "--yes", within=900)
        (live.folder / "deploy.live.yaml").write_text("port: 8070\nruntime: {workers: 2}\n")
        moved = live.deploy("push", "--from", "staging", within=900)
    users.demand(proven={promoted.release, more.release, fewer.release, moved.release}, at_least=200)
    assert more.release == promoted.release and len(more.last["hosts"]["web2"]["instances"]) == 2
    assert (site / "current/VERSION").read_text() == "1\n", "a new size brings no new code"
    assert {each["port"] for host in moved.last["hosts"].values() for each in host["instances"].values()} == {8070}
    assert [path.name for path in (site / "slots").iterdir()] == ["8070"]
    assert "instances" not in (live.folder / "deploy.yaml").read_text()
    refused = live.deploy("scale", "--instances", "3", expect=2)
    assert refused.error["hint"] == "add --yes" and "3" not in (live.folder / "deploy.live.yaml").read_text()
    live.deploy("remove", "--yes")
    staging.deploy("remove", "--yes")


@pytest.mark.more
@pytest.mark.timeout(900)
def test_a_plan_in_a_file_is_carried_out_or_refused(lab: Lab, tmp_path: Path) -> None:
    settings = {**QUICK, "app": "planner", "domains": ["planner.test"], "port": 8150}
    shop = Project(tmp_path / "shop", lab.name, "shop", {**settings, "secrets": {"KEY": {"env": "PLANNER_KEY"}}})
    env = {"PLANNER_KEY": "hidden-in-no-file"}
    file = tmp_path / "plan.json"
    shop.deploy("setup", env=env)
    shop.deploy("plan", "--out", str(file), env=env)
    assert "hidden-in-no-file" not in file.read_text()
    shop.version("2, committed after the plan")
    pushed = shop.deploy("push", "--plan", str(file), env=env)
    assert pushed.release in file.read_text()
    site = Path(lab.folder) / "hosts/web2/root/srv/planner"
    assert not (site / "current/VERSION").exists(), "only what was planned"
    again = shop.deploy("push", "--plan", str(file), env=env, expect=2)
    assert again.error["code"] == "plan_outdated" and "the releases on the hosts" in again.error["message"]
    shop.deploy("push", "--plan", str(file), "--ref", "HEAD", env=env, expect=2)
    shop.deploy("remove", "--yes", env=env)
