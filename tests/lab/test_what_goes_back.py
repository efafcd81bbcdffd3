"""What a failed run leaves behind: no secrets that nothing has proven itself with, and no release beyond its canary."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from support.inventories import inventory
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(900)]

SETTINGS = {
    "app": "returns",
    "domains": ["returns.test"],
    "port": 8170,
    "health": {"within": "8s"},
    "runtime": {"workers": 1, "graceful_timeout": "3s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms"},
    "secrets": {"TOKEN": {"env": "TOKEN"}},
}
PICKY = 'os.environ["TOKEN"][:4] != "good"'


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("returns") / "returns", lab.name, "shop", SETTINGS)
    code = (project.folder / "main.py").read_text()
    picky = code.replace('breakage.MODE == "health"', f'breakage.MODE == "health" or {PICKY}')
    assert picky != code
    project.commit("healthy with a good token alone", main__py=picky)
    project.deploy("setup")
    project.deploy("push", env={"TOKEN": "good"})
    yield project


def secrets_of(lab: Lab, project: Project) -> set[str]:
    folder = Path(lab.folder, "hosts")
    name = project.folder.name
    return {file.read_text() for file in folder.glob(f"web*/root/srv/{name}/.deploy/secrets.env")}


def test_secrets_that_nothing_starts_with_are_gone_again(shop: Project, lab: Lab, tmp_path: Path) -> None:
    proven = {shop.deploy("status").release}
    good = secrets_of(lab, shop)
    assert good == {"export TOKEN='good'\n"}
    with traffic(lab.address, tmp_path / "log", host_header="returns.test") as users:
        shop.version(2)
        pushed = shop.deploy("push", env={"TOKEN": "bad"}, expect=5)
        assert "answered 500" in pushed.error["message"] and secrets_of(lab, shop) == good
        assert shop.deploy("reload", env={"TOKEN": "worse"}, expect=5).last["outcome"] == "rolled_back"
        assert secrets_of(lab, shop) == good
        shop.settings({"hooks": {"release": "exit 1", "failed": "echo it was $DEPLOY_OUTCOME of $DEPLOY_APP; exit 3"}})
        shop.version(3)
        failed = shop.deploy("push", env={"TOKEN": "bad again"}, expect=5)
        assert "it was rolled_back of returns" in [event["line"] for event in failed.of("output")]
        assert any("hooks.failed failed: exit status 3" in event["message"] for event in failed.of("warning"))
        assert secrets_of(lab, shop) == good
        shop.settings({"hooks": {}})
        proven.add(shop.deploy("push", env={"TOKEN": "good too"}).release)
    assert secrets_of(lab, shop) == {"export TOKEN='good too'\n"}
    users.demand(proven=proven, at_least=100)
    assert not list(Path(lab.folder, "hosts").glob("web*/root/srv/returns/.deploy/secrets.before"))


def test_other_ports_come_by_waves_like_anything_else(shop: Project, lab: Lab, tmp_path: Path) -> None:
    before = shop.deploy("status").release
    with traffic(lab.address, tmp_path / "log", host_header="returns.test") as users:
        shop.settings({"port": 8180})
        shop.breaks("health")
        broken = shop.deploy("push", env={"TOKEN": "good too"}, expect=5)
        assert next(event["instances"] for event in broken.of("wave.started")) == ["web1:0"]
        assert {step["instance"] for step in broken.of("step.started") if step["step"] == "switch"} == {"web1:0"}
        shop.mends()
        moved = shop.deploy("push", env={"TOKEN": "good too"})
    assert len(moved.of("wave.started")) >= 2
    users.demand(proven={before, moved.release}, at_least=100)
    ports = [each["instances"]["0"]["port"] for each in shop.deploy("status").last["hosts"].values()]
    assert ports == [8180] * 3


def answers(lab: Lab, name: str) -> int:
    """The status that the balancer gives for the front page of `name`."""
    connection = HTTPConnection(lab.address, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": name})
        return connection.getresponse().status
    finally:
        connection.close()


def names_go_back(shop: Project, lab: Lab, log: Path, *where: str, **more: Any) -> None:
    """A name that a push drops and one that it brings are what they were, once it has failed."""
    shop.settings({"domains": ["returns.test", "also.test"]})
    before = shop.deploy("push", *where, **more).release
    with traffic(lab.address, log, host_header="returns.test") as users:
        shop.settings({"domains": ["returns.test", "new.test"]})
        shop.breaks("health")
        failed = shop.deploy("push", *where, expect=5, **more)
        assert "its part of the balancer is as before the run" in [event["line"] for event in failed.of("output")]
        assert (answers(lab, "also.test"), answers(lab, "new.test")) == (200, 404)
        shop.mends()
        healed = shop.deploy("push", *where, **more)
        assert (answers(lab, "also.test"), answers(lab, "new.test")) == (404, 200)
    users.demand(proven={before, healed.release}, at_least=100, stale=9)
    assert not list(Path(lab.folder, "hosts").glob("*/root/var/lib/deploy/before/*"))


def test_names_go_back_with_their_release(shop: Project, lab: Lab, tmp_path: Path) -> None:
    names_go_back(shop, lab, tmp_path / "log", env={"TOKEN": "good too"})


def test_names_go_back_behind_the_others_too(small: tuple[Lab, str], tmp_path: Path) -> None:
    lab, kind = small
    where = ("-i", str(inventory(lab, tmp_path / "one.yaml", ["lb1"], ["lb1"], kind)))
    shop = Project(tmp_path / "shop", lab.name, "shop", {**SETTINGS, "app": "shop", "secrets": {}})
    shop.deploy("setup", *where)
    names_go_back(shop, lab, tmp_path / "log", *where)


def test_other_ports_go_back_at_the_very_end_too(shop: Project, lab: Lab, tmp_path: Path) -> None:
    """The checks of the whole fleet come when the pools know the new ports alone."""
    good: dict[str, Any] = {"env": {"TOKEN": "good too"}}
    before = shop.deploy("push", **good).release
    was = {each["port"] for host in shop.deploy("status").last["hosts"].values() for each in host["instances"].values()}
    with traffic(lab.address, tmp_path / "log", host_header="returns.test") as users:
        shop.settings({"port": 8190, "checks": ["checks"]})
        (shop.folder / "checks").mkdir()
        (shop.folder / "checks" / "test_fleet.py").write_text("def test_it() -> None:\n    assert False, 'not well'\n")
        shop.commit("never well")
        failed = shop.deploy("push", expect=5, **good)
        assert failed.error["code"] == "checks" and failed.last["outcome"] == "rolled_back", failed.summary
        shop.settings({"port": min(was), "checks": []})
        status = shop.deploy("status").last["hosts"]
        found = {(each["port"], each["release"]) for host in status.values() for each in host["instances"].values()}
        assert found == {(port, before) for port in was} and all(host["instances"] for host in status.values())
    users.demand(proven={before, failed.release}, at_least=100)
