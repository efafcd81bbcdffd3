"""Blue/green, budgets and limits on real processes: real sshd, supervisord and HAProxy, real traffic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.judged import goes_back, pushed
from support.project import Done, Project
from support.traffic import traffic

from deployer.lab import Lab

QUICK: dict[str, Any] = {
    "health": {"within": "20s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2]},
}


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The example app beside others, with a name and ports of its own."""
    settings = {**QUICK, "app": "strategies", "domains": ["strategies.test"], "port": 8020}
    project = Project(tmp_path_factory.mktemp("strategies") / "shop", lab.name, "shop", settings)
    project.deploy("setup")
    project.deploy("push")
    yield project


def instances(done: Done) -> dict[str, Any]:
    """Host → its only instance, of those that have one."""
    return {name: host["instances"]["0"] for name, host in done.last["hosts"].items() if host["instances"]}


def test_blue_green_there_and_back_costs_no_request(shop: Project, lab: Lab, tmp_path: Path) -> None:
    first = shop.deploy("status").release
    with traffic(lab.address, tmp_path / "log", host_header="strategies.test") as users:
        shop.version("blue")
        second = shop.deploy("push", "--strategy", "bluegreen")
        moved = instances(shop.deploy("status"))
        shop.version("green")
        third = shop.deploy("push", "--strategy", "bluegreen", "--waves", "3")
        shop.breaks("health")
        broken = shop.deploy("push", "--strategy", "bluegreen", expect=5)
        shop.mends()
        back = shop.deploy("rollback", "--strategy", "restart")
        end = instances(shop.deploy("status"))
    users.demand(proven={first, second.release, third.release}, at_least=400)
    assert {each["port"] for each in moved.values()} == {8520}
    assert broken.last["outcome"] == "rolled_back"
    assert back.release == second.release and len(end) == 3
    assert {(each["port"], each["state"]) for each in end.values()} == {(8020, "proven")}
    shop.deploy("verify")


def test_a_limit_changes_its_hosts_and_takes_nobody_out_of_the_pool(shop: Project, lab: Lab, tmp_path: Path) -> None:
    before = shop.deploy("status")
    shop.settings({"hooks": {"release": "echo migrated"}})
    shop.version("limited")
    with traffic(lab.address, tmp_path / "log", host_header="strategies.test") as users:
        limited = shop.deploy("push", "-l", "web2")
    after = instances(shop.deploy("status"))
    users.demand(proven={before.release, limited.release}, at_least=50)
    assert {host: each["release"] for host, each in after.items()} == {
        "web1": before.release,
        "web2": limited.release,
        "web3": before.release,
    }
    assert {each["state"] for each in after.values()} == {"proven"}
    hook = [event for event in limited.of("step.finished") if event["step"] == "release hook"]
    assert [event["host"] for event in hook] == ["web1"], "the hook's host moves with the limit"
    seen = [each["balancers"] for each in shop.deploy("status").last["data"]["instances"]]
    assert seen == [{"lb1": "UP"}] * 3, seen
    assert shop.deploy("push").release == limited.release


@pytest.mark.more
def test_one_host_that_cannot_is_left_behind_within_the_budget(shop: Project, lab: Lab, tmp_path: Path) -> None:
    before = shop.deploy("status").release
    shop.settings({"rolling": {**QUICK["rolling"], "max_failures": 1}, "hooks": {}})
    whole = (shop.folder / "breakage.py").read_text()
    only_there = '\nif "/hosts/web3/" in str(Path(__file__).resolve()):\n    MODE = "health"\n'
    shop.commit("breaks on web3 alone", breakage__py=whole.replace("\nif MODE", only_there + "\nif MODE", 1))
    with traffic(lab.address, tmp_path / "log", host_header="strategies.test") as users:
        pushed = shop.deploy("push", expect=8)
    users.demand(proven={before, pushed.release}, at_least=50)
    assert "web3:0 stayed behind" in pushed.error["message"]
    assert {host: each["release"] for host, each in instances(shop.deploy("status")).items()} == {
        "web1": pushed.release,
        "web2": pushed.release,
        "web3": before,
    }


def test_a_canary_that_is_healthy_and_fails_requests_goes_back(shop: Project, lab: Lab, tmp_path: Path) -> None:
    before = shop.deploy("status").release
    shop.settings({"rolling": {**QUICK["rolling"], "soak": "3s"}, "hooks": {}})
    shop.breaks("errors 25")
    done, seen = pushed(shop, lab, tmp_path / "log", "strategies.test", expect=5)
    goes_back(done, seen, before, "of its requests fail")
    assert 0 < seen.failed < seen.requests / 10, "users lost more than what the canary got"
    shop.mends()


@pytest.mark.more
def test_more_and_fewer_instances_under_traffic(shop: Project, lab: Lab, tmp_path: Path) -> None:
    """New servers get no request before they serve; what the settings no longer have is drained and stopped."""
    shop.settings({"rolling": QUICK["rolling"], "hooks": {}, "health": QUICK["health"]})
    shop.commit("whole again", breakage__py=(shop.folder / "breakage.py").read_text().replace("/hosts/web3/", "/none/"))
    before = shop.deploy("push").release
    with traffic(lab.address, tmp_path / "log", host_header="strategies.test") as users:
        shop.settings({"instances": 2})
        more = shop.deploy("push")
        shop.settings({"instances": 1})
        fewer = shop.deploy("push")
    users.demand(proven={before, more.release, fewer.release}, at_least=100)
    assert all(len(host["instances"]) == 2 for name, host in more.last["hosts"].items() if name != "lb1")
    for host in ("web1", "web2", "web3"):
        slots = Path(lab.folder) / "hosts" / host / "root/srv/strategies/slots"
        assert len(list(slots.iterdir())) == 1, host
    seen = [each["balancers"] for each in shop.deploy("status").last["data"]["instances"]]
    assert seen == [{"lb1": "UP"}] * 3, seen
