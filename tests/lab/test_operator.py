"""What a person does around pushes: drain and admit, freeze, cancel, and a probe that is the gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.controller import Controller
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab

SETTINGS = {
    "app": "operator",
    "domains": ["operator.test"],
    "port": 8040,
    "health": {"within": "20s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The example app, pushed once."""
    project = Project(tmp_path_factory.mktemp("operator") / "shop", lab.name, "shop", SETTINGS)
    project.deploy("setup")
    project.deploy("push")
    yield project


def lines(project: Project) -> str:
    """What `deploy status` shows."""
    return project.show("status")


def test_what_a_person_drained_stays_out_through_a_push_until_it_is_admitted(
    shop: Project, lab: Lab, tmp_path: Path
) -> None:
    before = shop.deploy("status").release
    with traffic(lab.address, tmp_path / "log", host_header="operator.test") as users:
        shop.deploy("drain", "web2", "--reason", "a broken disk")
        assert "web2-8040 is held out by person" in lines(shop) and "a broken disk" in lines(shop)
        shop.version("while web2 is out")
        pushed = shop.deploy("push")
        assert "[lb1: DRAIN]" in lines(shop)
        shop.deploy("admit", "web2")
        assert "held out" not in lines(shop) and lines(shop).count("[lb1: UP]") == 3
    users.demand(proven={before, pushed.release}, at_least=100)
    assert {each["instances"]["0"]["release"] for name, each in pushed.last["hosts"].items()} == {pushed.release}


@pytest.mark.more
def test_the_last_that_serves_is_only_drained_when_a_person_insists(shop: Project) -> None:
    shop.deploy("drain", "web1")
    shop.deploy("drain", "web2")
    refused = shop.deploy("drain", "web3", expect=2)
    assert refused.error["hint"] == "add --yes to do it anyway"
    for host in ("web1", "web2"):
        shop.deploy("admit", host)


@pytest.mark.more
def test_a_freeze_stops_pushes_and_no_rollback(shop: Project) -> None:
    for version in ("to go back to", "before the freeze"):
        shop.version(version)
        shop.deploy("push")
    back = shop.deploy("rollback", "--freeze", "the sale is on")
    assert any("frozen: the sale is on" in each["line"] for each in back.of("output"))
    shop.version("while frozen")
    refused = shop.deploy("push", expect=4)
    assert "the sale is on" in refused.error["message"]
    shop.deploy("rollback")
    shop.deploy("unfreeze")
    assert shop.deploy("unfreeze").last["outcome"] == "unchanged"
    shop.deploy("push")


def test_a_push_that_is_cancelled_from_elsewhere_goes_back(shop: Project, lab: Lab, tmp_path: Path) -> None:
    before = shop.deploy("status").release
    assert shop.deploy("cancel").last["outcome"] == "unchanged"
    shop.settings({"rolling": {**SETTINGS["rolling"], "soak": "20s"}})  # type: ignore[dict-item]
    shop.version("cancelled")
    with traffic(lab.address, tmp_path / "log", host_header="operator.test") as users:
        push = Controller(shop, "push")
        try:
            push.until("step.started", "soak")
            shop.deploy("cancel")
            ended = push.end(within=120)
        finally:
            push.close()
    shop.settings({"rolling": SETTINGS["rolling"]})
    assert (ended["exit_status"], ended["outcome"]) == (130, "interrupted")
    assert "@" in ended["error"]["message"], "it does not say who asked"
    assert shop.deploy("status").release == before
    users.demand(proven={before, ended["release"]}, at_least=100)


def test_a_push_looks_at_the_hosts_before_its_build_hook_and_is_in_the_history_however_it_ends(
    shop: Project, tmp_path: Path
) -> None:
    marker = tmp_path / "hook-ran"
    shop.settings({"hooks": {"build": f"touch {marker}; false"}})
    shop.commit("with a build hook that fails")
    shop.deploy("freeze", "--reason", "the sale is on")
    refused = shop.deploy("push", expect=4)
    assert not marker.exists(), "the hook ran though it was frozen"
    shop.deploy("unfreeze")
    failed = shop.deploy("push", expect=5)
    shop.settings({"hooks": {}})
    assert marker.exists() and failed.events[0]["event"] == "run.started"
    answer = shop.deploy("history").last["data"]
    told = {run["run"]: run for run in answer["runs"]}
    for done, outcome, why in ((refused, "refused", "the sale is on"), (failed, "rolled_back", "build hook")):
        run = told[str(done.events[0]["run"])]
        assert (run["command"], run["outcome"], run["local"]) == ("push", outcome, True), run
        assert why in run["why"] and "@" in run["who"] and run["duration_s"] > 0, run
    assert [each["event"] for each in answer["by_hand"]][-2:] == ["frozen", "thawed"]


@pytest.mark.more
def test_the_probe_beside_a_run_is_its_gate(shop: Project, lab: Lab) -> None:
    url = f"http://{lab.address}/"
    shop.version("behind a probe that hears the balancer alone")
    before = shop.deploy("status").release
    balancer = lab.address.partition(":")[0]
    closed = f"http://{balancer}:9/"
    for command, wrong, why in (("push", url, f"its Host is {balancer},"), ("reload", closed, "nothing listens")):
        refused = shop.deploy(command, "--probe", wrong, expect=3)
        assert refused.error["code"] == "probe_url" and why in refused.error["message"], refused.error
        assert not [event for event in refused.of("step.started") if event["instance"] or event["step"] == "build"]
    assert shop.deploy("status").release == before
    shop.settings({"domains": []})
    shop.deploy("push")
    shop.version("good")
    good = shop.deploy("push", "--probe", url, "--rate", "30")
    assert good.last["probe"]["requests"] > 30 and good.last["probe"]["failed"] == 0
    text = (shop.folder / "main.py").read_text()
    broken = text.replace("return HTMLResponse(", 'raise RuntimeError("sorry")\n    return HTMLResponse(')
    assert broken != text
    shop.commit("its page is broken, its health is not", main__py=broken)
    bad = shop.deploy("push", "--probe", url, "--rate", "30", expect=5)
    assert bad.error["code"] == "probe_failed"
    assert bad.last["probe"]["failed"] > 0
    assert any(failure["during"] for failure in bad.last["probe"]["failures"])
    assert shop.deploy("status").release == good.release


def test_a_push_that_was_killed_is_shown_and_resumed(shop: Project, lab: Lab, tmp_path: Path) -> None:
    shop.settings({"domains": ["operator.test"]})
    shop.commit(
        "whole again", main__py=(shop.folder / "main.py").read_text().replace('raise RuntimeError("sorry")', "")
    )
    before = shop.deploy("push").release
    shop.version("killed")
    with traffic(lab.address, tmp_path / "log", host_header="operator.test") as users:
        push = Controller(shop, "push")
        try:
            push.until("step.started", "soak")
        finally:
            push.kill()
        push.until_true("the lock is free", lambda: "locked by" not in lines(shop))
        assert f"run {push.run} (push of {push.release}) did not finish" in lines(shop)
        resumed = shop.deploy("push", "--resume", "--wait", "3m")
    users.demand(proven={before, push.release}, at_least=100)
    assert resumed.release == push.release
    assert "did not finish" not in lines(shop)
    assert shop.deploy("push", "--resume", expect=2).error["message"] == "no run is left unfinished"
    runs = {each["run"]: each for each in shop.deploy("history").last["data"]["runs"]}
    killed, last = runs[push.run], runs[str(resumed.events[0]["run"])]
    assert (killed["command"], killed["release"], killed["outcome"]) == ("push", push.release, "interrupted"), killed
    assert "@" in killed["who"] and not killed["local"] and not killed["under_way"], killed
    assert (last["command"], last["release"], last["outcome"]) == ("push", push.release, "succeeded"), last


@pytest.mark.more
def test_a_push_that_stopped_half_way_is_shown_and_resumed(shop: Project, lab: Lab, tmp_path: Path) -> None:
    before = shop.deploy("status").release
    shop.settings({"rolling": {**SETTINGS["rolling"], "soak": "20s"}})  # type: ignore[dict-item]
    shop.version("half")
    with traffic(lab.address, tmp_path / "log", host_header="operator.test") as users:
        push = Controller(shop, "push", "--on-failure", "stop")
        try:
            push.until("step.started", "soak")
            shop.deploy("cancel")
            assert push.end(within=120)["exit_status"] != 0
        finally:
            push.close()
        told = lines(shop)
        assert f"run {push.run} (push of {push.release}) stopped half way (web1:0 serves {push.release}" in told
        assert "push" in told and "--resume goes on" in told
        resumed = shop.deploy("push", "--resume")
    users.demand(proven={before, push.release}, at_least=100)
    assert resumed.release == push.release and "half way" not in lines(shop)
    shop.settings({"rolling": SETTINGS["rolling"]})


def test_a_balancer_that_would_refuse_its_configuration_is_found_at_the_gate(shop: Project, lab: Lab) -> None:
    own = next(Path(lab.folder).glob("hosts/lb1/**/etc/haproxy/haproxy.cfg"))
    whole = own.read_text()
    shop.version("behind a broken balancer")
    try:
        own.write_text(whole + "garbage here\n")
        refused = shop.deploy("push", expect=3)
        assert shop.deploy("doctor", expect=3).error["code"] == "balancer_configuration"
    finally:
        own.write_text(whole)
    assert refused.error["code"] == "balancer_configuration" and refused.error["host"] == "lb1"
    assert any("garbage" in line for line in refused.error["log"])
    assert not refused.of("wave.started")
