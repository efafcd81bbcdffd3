"""One host and nothing before it: users talk to the instance itself, and systemd holds its port while it restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.labs import fresh_name
from support.project import Project
from support.traffic import Traffic, traffic

from deployer.lab import Lab, LabSpec, down, up
from deployer.probe import Receipt

QUICK = {"health": {"within": "30s"}, "rolling": {"soak": "500ms"}}
PATIENCE = 60.0  # seconds that a request may wait here: a restart takes as long as the app's end and start
SERVERS = {"uvicorn": ("shop", 1), "gunicorn": ("notes", 8)}
PORTS = {"uvicorn": 8000, "gunicorn": 8010}
RACE = {"uvicorn": 1, "gunicorn": 0}
"""Requests that one restart may cost: connections that uvicorn has accepted and not yet read from."""


@pytest.fixture(scope="module")
def alone() -> Iterator[Lab]:
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="machines", hosts=1, balancer="none"), print)
    finally:
        down(name, print)


def made(server: str, lab: Lab, folder: Path, **settings: Any) -> Project:
    """An app of that server's, set up and with nothing pushed."""
    example, workers = SERVERS[server]
    app = settings.pop("app", server.replace("+", "-"))
    runtime = {"server": server, "workers": workers, "graceful_timeout": "5s"}
    packages = {"with": ["gunicorn", "uvicorn-worker"]}
    own = {"app": app, "port": PORTS[server], "runtime": runtime, "python": packages, **QUICK, **settings}
    project = Project(folder / app, lab.name, example, own)
    project.deploy("setup")
    return project


def users(lab: Lab, project: Project, server: str, log: Path) -> Any:
    address = f"{lab.hosts['web1']['host']}:{PORTS[server]}"
    mix = "http" if SERVERS[server][0] == "notes" else "full"
    return traffic(address, log, mix=mix, rate=12, limit=PATIENCE)


def demand(found: Traffic, server: str, *, changes: int, proven: set[str]) -> Receipt:
    """Nobody was refused, and no more was lost than the server's own race in so many changes."""
    receipt = found.receipt
    assert receipt is not None
    assert set(receipt.causes) <= {"reset", "closed"}, (receipt.causes, receipt.failures[:10])
    assert receipt.failed <= RACE[server] * changes, (receipt.causes, receipt.failures[:10])
    assert set(receipt.releases) <= proven, (receipt.releases, proven)
    assert receipt.requests >= 100, receipt
    print(
        f"{server}: {receipt.failed} of {receipt.requests} failed, {receipt.stale} stale, {receipt.max_ms} ms at most"
    )
    return receipt


def main_process(lab: Lab, project: Project, server: str) -> str:
    unit = f"{project.folder.name}@{PORTS[server]}.service"
    return says(lab, "systemctl", "show", "--property", "MainPID", "--value", unit)


def until(met: Callable[[], bool], what: str, bound: float = 120.0) -> None:
    deadline = time.monotonic() + bound
    while not met():
        assert time.monotonic() < deadline, f"waited {bound:g} s for {what}"
        time.sleep(0.2)


def says(lab: Lab, *argv: str) -> str:
    return lab.exec("web1", argv).stdout.strip()


@pytest.mark.parametrize("server", ["uvicorn", pytest.param("gunicorn", marks=pytest.mark.more)])
def test_a_push_a_broken_one_and_a_rollback_refuse_nobody(server: str, alone: Lab, tmp_path: Path) -> None:
    project = made(server, alone, tmp_path)
    first = project.deploy("push")
    assert first.of("plan.made")[0]["plan"]["strategy"] == "socket"
    with users(alone, project, server, tmp_path / "log") as found:
        project.version(2)
        second = project.deploy("push")
        project.breaks("boot")
        broken = project.deploy("push", expect=5)
        back = project.deploy("rollback")
    assert broken.last["outcome"] == "rolled_back"
    assert back.release == first.release
    demand(found, server, changes=4, proven={first.release, second.release})
    app = project.folder.name
    unit = f"{app}@{PORTS[server]}"
    assert says(alone, "systemctl", "is-active", f"{unit}.socket", f"{unit}.service").split() == ["active", "active"]
    project.mends()
    assert project.deploy("push").last["outcome"] == "succeeded"
    project.deploy("verify")
    assert project.deploy("push").last["outcome"] == "unchanged"


@pytest.mark.more
def test_a_host_that_runs_the_app_already_changes_with_one_push(alone: Lab, tmp_path: Path) -> None:
    """From a port of its own to one that systemd holds, back, and through a release of before the change."""
    server = "uvicorn"
    project = made(
        server, alone, tmp_path, app="changes", port=8030, rolling={**QUICK["rolling"], "strategy": "restart"}
    )
    first = project.deploy("push")
    assert says(alone, "systemctl", "is-active", "changes@8030.socket") == "inactive"

    project.settings({"rolling": QUICK["rolling"]})
    changed = project.deploy("push")
    assert changed.release == first.release
    plan = changed.of("plan.made")[0]["plan"]
    assert plan["strategy"] == "socket" and any("refused this once" in warning for warning in plan["warnings"])
    assert says(alone, "systemctl", "is-active", "changes@8030.socket") == "active"

    project.version(2)
    second = project.deploy("push")
    assert not any("this once" in each for each in second.of("plan.made")[0]["plan"]["warnings"])
    assert project.deploy("rollback").release == first.release

    project.settings({"rolling": {**QUICK["rolling"], "strategy": "restart"}})
    assert project.deploy("reload").release == first.release
    assert says(alone, "systemctl", "is-active", "changes@8030.socket") == "inactive"
    assert says(alone, "systemctl", "is-enabled", "changes@8030.socket") == "disabled"


@pytest.mark.more
def test_gunicorn_is_reloaded_in_place_to_another_release_and_back(alone: Lab, tmp_path: Path) -> None:
    server = "gunicorn"
    in_place = {"rolling": {**QUICK["rolling"], "strategy": "reload"}}
    project = made(server, alone, tmp_path, **in_place)
    first = project.deploy("push")
    master = main_process(alone, project, server)
    with users(alone, project, server, tmp_path / "log") as found:
        project.version(2)
        second = project.deploy("push")
        project.breaks("import")
        broken = project.deploy("push", expect=5)
        reloaded = project.deploy("reload")
        back = project.deploy("rollback")
    assert second.of("plan.made")[0]["plan"]["strategy"] == "reload"
    assert broken.last["outcome"] in ("rolled_back", "refused", "failed")
    assert (reloaded.release, back.release) == (second.release, first.release)
    assert main_process(alone, project, server) == master, "it was restarted"
    demand(found, server, changes=3, proven={first.release, second.release})
    project.mends()
    project.settings({"env": {"GREETING": "hello"}})
    refused = project.deploy("push", expect=2)
    assert "rolling.strategy: reload" in refused.error["message"] and "new" in refused.error["message"]


def test_uvicorns_workers_are_reloaded_in_place_with_their_release(alone: Lab, tmp_path: Path) -> None:
    server = "uvicorn"
    runtime = {"server": server, "workers": 2, "graceful_timeout": "5s"}
    patient = {"UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60"}
    project = made(server, alone, tmp_path, runtime=runtime, env=patient)
    pushed = project.deploy("push")
    master = main_process(alone, project, server)
    with users(alone, project, server, tmp_path / "log") as found:
        for _ in range(2):
            reloaded = project.deploy("reload", "--strategy", "reload")
    assert reloaded.release == pushed.release
    assert main_process(alone, project, server) == master, "it was restarted"
    demand(found, server, changes=4, proven={pushed.release})
    project.version(2)
    assert "only the release" in project.deploy("push", "--strategy", "reload", expect=2).error["message"]


@pytest.mark.more
def test_a_first_push_that_fails_leaves_no_port_open(alone: Lab, tmp_path: Path) -> None:
    project = made("uvicorn", alone, tmp_path, app="fails", port=8040)
    project.breaks("boot")
    failed = project.deploy("push", expect=5)
    assert "did not start" in failed.error["message"]
    assert says(alone, "systemctl", "is-active", "fails@8040.socket") == "inactive"
    assert "8040" not in says(alone, "ss", "-Hltn")


@pytest.mark.more
def test_a_port_that_a_strangers_socket_unit_holds_is_taken(alone: Lab, tmp_path: Path) -> None:
    alone.exec("web1", ["systemd-run", "--quiet", "--unit=stranger", "--socket-property=ListenStream=8050", "true"])
    try:
        project = made("uvicorn", alone, tmp_path, app="taken", port=8050)
        refused = project.deploy("push", expect=3)
        assert "port 8050 is taken" in refused.error["message"]
    finally:
        alone.exec("web1", ["systemctl", "stop", "stranger.socket"])


def test_after_a_power_cut_the_port_is_open_before_the_app_is(alone: Lab, tmp_path: Path) -> None:
    project = made("gunicorn", alone, tmp_path, app="boots", port=8060)
    pushed = project.deploy("push")
    alone.power_off("web1")
    alone.power_on("web1")
    until(
        lambda: project.deploy("status", expect=None).last["hosts"]["web1"]["instances"]["0"]["state"] == "proven",
        "the app",
    )
    state = project.deploy("status")
    assert state.release == pushed.release
    assert says(alone, "systemctl", "is-active", "boots@8060.socket", "boots@8060.service").split() == ["active"] * 2
    project.version(2)
    with traffic(f"{alone.hosts['web1']['host']}:8060", tmp_path / "log", mix="http", rate=20, limit=PATIENCE) as found:
        second = project.deploy("push")
    demand(found, "gunicorn", changes=1, proven={pushed.release, second.release})
