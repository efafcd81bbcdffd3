"""The main job without root: real sshd, supervisord and HAProxy processes, real traffic."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab

QUICK = {
    "health": {"within": "20s"},
    "runtime": {"workers": 2, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example app, set up and pushed once."""
    project = Project(tmp_path_factory.mktemp("main") / "shop", lab.name, "shop", QUICK, lean=False)
    project.deploy("setup")
    assert project.deploy("setup").last["outcome"] == "unchanged"
    return project


def test_a_first_push_before_setup_says_what_to_type(lab: Lab, tmp_path: Path) -> None:
    stranger = Project(tmp_path / "notes", lab.name, "notes", {"app": "stranger", "port": 8200})
    refused = stranger.deploy("push", expect=3)
    assert refused.error["hint"] == f"deploy setup {lab.name}"
    assert refused.error["host"] == "lb1"


def test_push_broken_push_and_rollback_while_users_are_there(shop: Project, lab: Lab, tmp_path: Path) -> None:
    first = shop.deploy("push")
    assert first.last["outcome"] == "succeeded"
    with traffic(lab.address, tmp_path / "log") as users:
        shop.version(2)
        second = shop.deploy("push")
        shop.breaks("health")
        broken = shop.deploy("push", expect=5)
        again = shop.deploy("status")
        shop.mends()
        back = shop.deploy("rollback")
    users.demand(proven={first.release, second.release}, at_least=300)
    assert broken.last["outcome"] == "rolled_back"
    assert "500" in broken.error["message"]
    assert {each["release"] for host in again.last["hosts"].values() for each in host["instances"].values()} == {
        second.release
    }
    assert back.release == first.release


def test_pushing_the_same_again_restarts_nothing(shop: Project) -> None:
    shop.version("the same")
    pushed = shop.deploy("push")
    before = shop.deploy("status")
    again = shop.deploy("push")
    assert again.last["outcome"] == "unchanged"
    assert again.release == pushed.release
    assert not again.of("wave.started")
    later = shop.deploy("status")
    for host, was in before.last["hosts"].items():
        now, was = later.last["hosts"][host]["instances"]["0"], was["instances"]["0"]
        assert [now[key] for key in ("port", "release", "state")] == [was[key] for key in ("port", "release", "state")]
        assert now["age_s"] >= was["age_s"] and 10e6 < now["memory"] < 1e9


def test_verify_runs_the_checks_of_every_role_and_writes_junit(shop: Project, tmp_path: Path) -> None:
    shop.deploy("push", expect=None)
    report = tmp_path / "verify.xml"
    verified = shop.deploy("verify", "--junitxml", str(report))
    assert {check["host"] for check in verified.of("check.finished")} == {"web1", "web2", "web3", "lb1"}
    assert "<testcase" in report.read_text()


def test_logs_show_what_the_app_said(shop: Project) -> None:
    shop.deploy("push", expect=None)
    untimed = shop.deploy("logs", "--since", "10m", expect=None).error
    assert untimed["code"] == "no_times" and "-n" in untimed["hint"]
    lines = [event["line"] for event in shop.deploy("logs", "-n", "5000", "--grep", "startup complete").of("output")]
    assert lines
