"""The main job behind Caddy, without root: real sshd, supervisord and Caddy processes, real traffic."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.caddy import real_caddy
from support.labs import fresh_name
from support.project import REPOSITORY, Project
from support.traffic import traffic

from deployer import balancers
from deployer.agent.balancer import operations as balancer
from deployer.agent.balancer.caddy.reload_tool import admin
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.balancer import ServerState
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context
from deployer.balancers import Pool
from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.timeout(900)]

QUICK = {
    "health": {"within": "60s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}
AGENT = """
import json, sys, threading
from deployer.agent.balancer import operations as balancer
from deployer.agent.operation import Context
args = json.loads(sys.argv[1])
ctx = Context(lease_left=lambda: 1.0)
balancer.watch(ctx, args)
balancer.drain(ctx, args)
print("drained", flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three web hosts and a Caddy, each an sshd and a supervisord."""
    real_caddy()
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=3, balancer="caddy"), print)
    finally:
        down(name, print)


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example app, set up and pushed once. It serves every name."""
    project = Project(tmp_path_factory.mktemp("caddy") / "shop", lab.name, "shop", QUICK)
    project.deploy("setup")
    assert project.deploy("setup").last["outcome"] == "unchanged"
    project.deploy("push")
    return project


class Host:
    """The balancer host as the agent sees it there."""

    def __init__(self, lab: Lab) -> None:
        self.prefix = f"{lab.folder}/hosts/lb1/root"
        self.site = Site("shop", lab.name, f"{self.prefix}/srv/shop", prefix=self.prefix)
        pool = Pool(self.site, f"shop-{lab.name}", (), Health())
        self.args: Any = {
            "site": self.site.to_wire(),
            "run": "run-7",
            "driver": balancers.get("caddy").driver(pool),
        }

    def states(self) -> dict[str, ServerState]:
        """`balancer.state` of the app's servers."""
        return balancer.state(Context(), self.args)["servers"]

    def pid(self) -> int:
        """Caddy's process, by supervisord's word; 0 when it does not run."""
        control = f"{self.prefix}/usr/bin/supervisorctl"
        said = subprocess.run([control, "pid", "caddy"], capture_output=True, text=True).stdout.strip()
        return int(said) if said.isdigit() else 0

    def loaded(self) -> Any:
        """The configuration that runs."""
        return json.loads(admin(self.args["driver"]["socket"], "GET", "/config/")[1])


@pytest.fixture
def host(lab: Lab, shop: Project) -> Host:
    return Host(lab)


def until(what: str, holds: Callable[[], object], within: float = 60.0) -> None:
    ends = time.monotonic() + within
    while not holds():
        assert time.monotonic() < ends, f"not within {within:g} s: {what}"
        time.sleep(0.05)


def answered_by(lab: Lab, name: str = "shop.test") -> tuple[int, str]:
    """Status and process of one request on a new connection."""
    address, _, port = lab.address.partition(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=30)
    try:
        connection.request("GET", "/version", headers={"Host": name})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, str(json.loads(text)["pid"]) if answer.status == 200 else text.decode()
    finally:
        connection.close()


def test_pushes_a_broken_one_a_rollback_and_a_reload_cost_nothing(shop: Project, lab: Lab, tmp_path: Path) -> None:
    first = shop.deploy("status").release
    with traffic(lab.address, tmp_path / "log") as users:
        shop.version(2)
        second = shop.deploy("push")
        shop.breaks("health")
        broken = shop.deploy("push", expect=5)
        shop.mends()
        blue = shop.deploy("reload", "--strategy", "bluegreen")
        back = shop.deploy("rollback")
    users.demand(proven={first, second.release}, at_least=300)
    assert broken.last["outcome"] == "rolled_back"
    assert "500" in broken.error["message"]
    assert blue.release == second.release
    assert back.release == first
    shop.deploy("verify")


def test_another_app_on_the_same_caddy_costs_nothing(shop: Project, host: Host, lab: Lab, tmp_path: Path) -> None:
    """A reload keeps idle connections, websockets and what is under way.

    Go drops a connection that a server accepted and had not read a request from when it ended: docs/balancers.md has
    the figures. So a reload may lose one of the newest, and nothing else.
    """
    release = shop.deploy("status").release
    before = host.pid()
    with traffic(lab.address, tmp_path / "log", rate=60) as users:
        for number in range(2):
            settings = {
                **QUICK,
                "app": f"other{number}",
                "domains": [f"other{number}.test"],
                "port": 8200 + 10 * number,
            }
            other = Project(tmp_path / f"other{number}", lab.name, "notes", settings)
            other.deploy("setup")
    receipt = users.receipt
    assert receipt is not None and receipt.requests >= 300, receipt
    assert receipt.failed <= 2 and set(receipt.causes) <= {"closed", "reset"}, (receipt.causes, receipt.failures)
    assert receipt.stale == receipt.told == 0, "a reload closed an idle connection or a websocket"
    assert set(receipt.releases) == {release}
    assert host.pid() == before
    assert answered_by(lab, "other1.test")[0] in (502, 503), "it has no instance yet, and no other app answers for it"
    assert answered_by(lab)[0] == 200
    greedy = Project(tmp_path / "greedy", lab.name, "notes", {**QUICK, "app": "greedy", "port": 8300})
    loaded = host.loaded()
    refused = greedy.deploy("setup", expect=None)
    assert refused.exit != 0
    said = json.dumps(refused.error)
    assert f"greedy in {lab.name} and shop in {lab.name} both want every request at" in said, said
    assert host.loaded() == loaded
    assert not Path(f"{host.prefix}/etc/deploy/caddy/apps/greedy-{lab.name}.json").exists()


def test_what_a_person_drained_stays_out_when_caddy_dies(shop: Project, host: Host, lab: Lab) -> None:
    everyone = {answered_by(lab)[1] for _ in range(60)}
    assert len(everyone) == 3
    shop.deploy("drain", "web2", "--reason", "a broken disk")
    (out,) = [name for name, each in host.states().items() if each["state"] == "DRAIN"]
    before = host.pid()
    os.kill(before, signal.SIGKILL)
    until("supervisord starts Caddy again", lambda: host.pid() not in (0, before))
    until("it serves again", lambda: [each["state"] for each in host.states().values()].count("UP") == 2)
    assert host.states()[out]["state"] == "DRAIN"
    assert len({answered_by(lab)[1] for _ in range(60)}) == 2
    shop.deploy("admit", "web2")
    assert {answered_by(lab)[1] for _ in range(60)} == everyone


def test_the_watchdog_puts_back_what_a_killed_agent_had_drained(host: Host, lab: Lab) -> None:
    server = next(name for name, each in host.states().items() if each["state"] == "UP")
    order = json.dumps({**host.args, "bound": 2.0, "servers": [server], "timeout": 5})
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, order],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "drained\n"
        assert host.states()[server]["state"] == "DRAIN"
        os.killpg(agent.pid, signal.SIGKILL)
    until("the watchdog admits it", lambda: host.states()[server]["state"] == "UP")
    assert host.states()[server]["held"] is None
