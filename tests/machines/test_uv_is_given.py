"""Hosts without uv are given the controller's, once; where it cannot run, pip does the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name
from support.project import Project

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.machines, pytest.mark.more]

QUICK = {"rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [2], "max_unavailable": 1}}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Lab]:
    """Two hosts as Debian leaves them: no uv, and a pip.conf that uv does not read."""
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    name = fresh_name()
    try:
        made = up(LabSpec(name=name, kind="machines", hosts=2), print)
        for host in ("web1", "web2"):
            assert made.exec(host, ["sh", "-c", "! command -v uv && rm /etc/uv/uv.toml"]).returncode == 0
        yield made
    finally:
        down(name, print)


def test_the_first_push_brings_uv_and_the_next_ones_share_what_it_built(fleet: Lab, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", fleet.name, "shop", {"app": "shop", "domains": ["shop.test"], **QUICK})
    project.deploy("setup")
    first = project.deploy("push")
    [given] = [event for event in first.of("step.finished") if event["step"] == "uv"]
    assert "given to 2 of 2 hosts" in given["detail"]
    for host in ("web1", "web2"):
        said = _run(fleet, host, "/var/lib/deploy/uv/*/uv --version && stat -c '%a %U' /var/lib/deploy/uv/*/uv")
        assert said.startswith("uv ") and said.endswith("755 root\n")
        assert _run(fleet, host, "ls /srv/shop/venvs").strip().endswith("-uv")

    # the same dependencies: nothing is installed
    project.version(2)
    assert _virtualenvs(project) == {"shared"}

    # another app's first release finds the program that the first one brought
    other = {"app": "other", "domains": ["other.test"], "port": 8100, **QUICK}
    second = Project(tmp_path / "other", fleet.name, "shop", other)
    second.deploy("setup")
    done = second.deploy("push")
    assert not [event for event in done.of("step.finished") if event["step"] == "uv"]
    assert _run(fleet, "web1", "ls /srv/other/venvs").strip().endswith("-uv")


def test_where_it_cannot_run_pip_installs_and_that_is_said_once(fleet: Lab, tmp_path: Path) -> None:
    for host in ("web1", "web2"):
        _run(fleet, host, "mkdir -p /var/lib/deploy/uv && mount -t tmpfs -o noexec,mode=0755 none /var/lib/deploy/uv")
    settings = {"app": "plain", "domains": ["plain.test"], "port": 8200, **QUICK}
    project = Project(tmp_path / "plain", fleet.name, "shop", settings)
    project.deploy("setup")
    done = project.deploy("push")
    [warned] = [event["message"] for event in done.of("warning") if "uv could not be given" in event["message"]]
    assert "web1, web2" in warned and "does not run" in warned
    assert _run(fleet, "web1", "ls /srv/plain/venvs").strip().endswith("-pip")
    assert _run(fleet, "web1", "ls -A /var/lib/deploy/uv") == ""

    # who insists on uv is told, and nothing changes
    project.settings({"python": {"installer": "uv"}})
    project.commit("uv or nothing")
    refused = project.deploy("push", expect=None)
    assert refused.exit != 0 and "cannot have uv" in refused.error["message"]
    assert project.deploy("status").release == done.release


def _virtualenvs(project: Project) -> set[str]:
    built = [event["detail"] for event in project.deploy("push").of("step.finished") if event["step"] == "build"]
    return {detail.split("virtualenv ")[1] for detail in built}


def _run(lab: Lab, host: str, command: str) -> str:
    done = lab.exec(host, ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return done.stdout
