"""A balancer and a server of another package: installed, set up on real hosts, and pushed behind under real traffic."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name, ssh
from support.plugins import install_toy
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(1500)]

APP = """
import importlib
import json
import sys
import time

import breakage
from release import RELEASE


def app(environ, start_response):
    path, status, kind = environ["PATH_INFO"], "200 OK", "application/json"
    if path == "/slow":
        time.sleep(float(environ["QUERY_STRING"].partition("=")[2]))
    if path == "/healthz" and breakage.MODE == "health":
        status = "500 Broken"
    if path == "/echo":
        kind, body = "application/octet-stream", environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    elif path == "/stream":
        kind, body = "text/plain", "".join(f"{RELEASE} {number}\\n" for number in range(10)).encode() + b"END\\n"
    elif path == "/late":
        sys.modules.pop("late", None)
        body = json.dumps({"release": RELEASE, "late_release": importlib.import_module("late").RELEASE}).encode()
    elif path == "/":
        kind, body = "text/html", b"<html>bread</html>"
    else:
        body = json.dumps({"release": RELEASE}).encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), ("X-Release", RELEASE)])
    return [body]
"""
LONGEST_S = 600.0
"""Seconds that one command may take on a machine that is busy with other tests."""
SETTINGS = {
    "balancer": {"kind": "toy"},
    "runtime": {"server": "toy", "app": "main:app", "graceful_timeout": "5s"},
    "health": {"path": "/healthz", "within": "20s"},
    "rolling": {"drain_timeout": "5s", "soak": "500ms", "waves": [1], "max_unavailable": 1},
}


@pytest.fixture(scope="module")
def toy_lab() -> Iterator[Lab]:
    """Two web hosts, and one whose own HAProxy is given nothing to serve: the toy balancer's host."""
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=2), print)
    finally:
        down(name, print)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which deploy finds the package."""
    folder = tmp_path_factory.mktemp("site-packages")
    install_toy(folder)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


@pytest.fixture(scope="module")
def shop(toy_lab: Lab, installed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A WSGI app without any requirement, set up and pushed once."""
    project = Project(tmp_path_factory.mktemp("main") / "shop", toy_lab.name, "shop", SETTINGS, lean=False)
    project.commit("WSGI", main__py=APP, requirements__txt="")
    project.deploy("setup", env=installed, within=LONGEST_S)
    assert project.deploy("setup", env=installed, within=LONGEST_S).last["outcome"] == "unchanged"
    project.deploy("push", env=installed, within=LONGEST_S)
    return project


def test_a_push_a_broken_one_and_a_rollback_behind_a_balancer_of_another_package(
    shop: Project, toy_lab: Lab, installed: dict[str, str], tmp_path: Path
) -> None:
    first = shop.deploy("status", env=installed, within=LONGEST_S)
    releases = {each["release"] for host in first.last["hosts"].values() for each in host["instances"].values()}
    with traffic(toy_lab.address, tmp_path / "log", mix="http") as users:
        shop.version(2)
        second = shop.deploy("push", env=installed, within=LONGEST_S)
        shop.breaks("health")
        broken = shop.deploy("push", expect=5, env=installed, within=LONGEST_S)
        shop.mends()
        shop.version(3)
        beside = shop.deploy("push", "--strategy", "bluegreen", env=installed, within=LONGEST_S)
        back = shop.deploy("rollback", env=installed, within=LONGEST_S)
    receipt = users.demand(proven={*releases, second.release, beside.release}, at_least=300)
    print(f"{receipt.requests} requests, {receipt.failed} failed, {receipt.stale} stale")
    assert (broken.last["outcome"], back.release) == ("rolled_back", second.release)


def status_at(address: str) -> int:
    """The status that a user gets."""
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status
    finally:
        connection.close()


def ready_on_web1(folder: Path) -> list[str]:
    """The slots of web1 that the proxy may send requests to, by the file that it keeps of them."""
    admin = json.loads((folder / "state.json").read_text())["admin"]
    return [name for name, state in admin.items() if name.startswith("web1-") and state == "ready"]


def test_a_drain_by_hand_takes_a_server_out_of_the_proxy_and_outlives_its_restart(
    shop: Project, toy_lab: Lab, installed: dict[str, str]
) -> None:
    folder = Path(toy_lab.folder) / "hosts/lb1/root/etc/toy-proxy"
    shop.deploy("drain", "web1", env=installed, within=LONGEST_S)
    assert not ready_on_web1(folder)
    assert ssh(toy_lab.hosts["lb1"], "supervisorctl restart toy-proxy").returncode == 0
    assert not ready_on_web1(folder)
    shop.deploy("admit", "web1", env=installed, within=LONGEST_S)
    assert len(ready_on_web1(folder)) == 1
    shop.deploy("verify", env=installed, within=LONGEST_S)


def test_the_maintenance_page_and_the_removal_of_a_host(shop: Project, toy_lab: Lab, installed: dict[str, str]) -> None:
    shop.deploy("maintenance", "on", env=installed, within=LONGEST_S)
    assert status_at(toy_lab.address) == 503
    shop.deploy("maintenance", "off", env=installed, within=LONGEST_S)
    assert status_at(toy_lab.address) == 200
    shop.deploy("remove", "-l", "web1", "--yes", env=installed, within=LONGEST_S)
    assert status_at(toy_lab.address) == 200
    pool = json.loads((Path(toy_lab.folder) / "hosts/lb1/root/etc/toy-proxy/pool.json").read_text())
    assert {name.partition("-")[0] for name in pool["servers"]} == {"web2"}


def test_without_the_package_the_kind_is_refused(shop: Project) -> None:
    refused = shop.deploy("plan", expect=2)
    assert "must be one of haproxy" in refused.error["message"] or "must be one of auto" in refused.error["message"]
    assert "entry point" in refused.error["hint"]
