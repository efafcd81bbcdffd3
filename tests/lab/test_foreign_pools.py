"""Pools that somebody else configures: moved by the user's own commands, or by us over HAProxy's socket. With users.

`make more`: each test waits for several pushes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.balanced import until
from support.labs import fresh_name
from support.project import Done, Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.lab, pytest.mark.more]

POOLS = {"theirs": (8090, 8060), "others": (8091, 8070)}
"""Backend → where users come, and the first slot's port."""
QUICK: dict[str, Any] = {
    "health": {"within": "60s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "5s", "soak": "500ms", "waves": [1, 2]},
}

THEIRS = """
frontend {name}-front
    bind {address}:{front}
    default_backend {name}
backend {name}
    option httpchk GET /healthz
    option redispatch 1
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    balance leastconn
    default-server check inter 500ms fall 2 rise 1
"""

LBCTL = """#!/usr/bin/env python3
# A user's own tool: it knows a server by its address and port, and its HAProxy by a socket.
import os, socket, sys

def ask(command):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect({socket!r})
        client.sendall(command.encode() + b"\\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()

def rows(text, separator):
    head, *lines = [line for line in text.splitlines() if line.strip()]
    return [dict(zip(head.lstrip("# ").split(separator), line.split(separator))) for line in lines]

pool = os.environ["DEPLOY_BACKEND"]
place = (os.environ["DEPLOY_ADDRESS"], os.environ["DEPLOY_PORT"])
servers = rows(ask("show servers state " + pool).split("\\n", 1)[1], " ")
mine = next((each for each in servers if (each["srv_addr"], each["srv_port"]) == place), None)
if os.environ["TOKEN"] != "a secret":
    sys.exit("not logged in with " + os.environ["TOKEN"])
if sys.argv[1] == "state":
    if mine is None:
        print("down")
    else:
        stat = next(each for each in rows(ask("show stat %s 4 -1" % pool), ",") if each["svname"] == mine["srv_name"])
        if int(mine["srv_admin_state"]):
            print("drain " + stat["scur"] if int(stat["scur"]) else "down")
        else:
            print("ready" if stat["status"].startswith("UP") else "unhealthy")
else:
    state = "drain" if sys.argv[1] == "drain" else "ready"
    said = ask("set server %s/%s state %s" % (pool, mine["srv_name"], state))
    sys.exit(said.strip() or 0)
"""


@pytest.fixture(scope="module")
def theirs() -> Iterator[Lab]:
    """A lab whose HAProxy has a pool that no `deploy` wrote: both slots of three instances, named otherwise."""
    lab_name = fresh_name()
    try:
        lab = up(LabSpec(name=lab_name, kind="processes", hosts=3), print)
        lb = lb1(lab)
        text = ""
        for name, (front, port) in POOLS.items():
            text += THEIRS.format(name=name, address=lab.hosts["lb1"]["host"], front=front)
            for number, host in enumerate(("web1", "web2", "web3")):
                for slot in (port, port + 500):
                    text += f"    server node{number}at{slot} {lab.hosts[host]['host']}:{slot}\n"
        with (lb / "etc/haproxy/haproxy.cfg").open("a") as file:
            file.write(text)
        lbctl = lb / "usr/bin/lbctl"
        lbctl.write_text(LBCTL.format(socket=f"{lb}/run/haproxy/admin.sock"))
        lbctl.chmod(0o755)
        done = subprocess.run([lb / "usr/bin/supervisorctl", "restart", "haproxy"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        until("HAProxy is back", (lb / "run/haproxy/admin.sock").is_socket)
        yield lab
    finally:
        down(lab_name, print)


def lb1(lab: Lab) -> Path:
    return Path(lab.folder) / "hosts/lb1/root"


def address(lab: Lab, pool: str) -> str:
    return f"{lab.hosts['lb1']['host']}:{POOLS[pool][0]}"


def shop(lab: Lab, folder: Path, pool: str, balancer: dict[str, Any]) -> Project:
    """An app of that pool's name."""
    own = {"app": pool, "port": POOLS[pool][1], "balancer": {**balancer, "backend": pool}}
    settings = {**QUICK, **own, "secrets": {"TOKEN": {"command": "echo a secret"}}}
    return Project(folder / "shop", lab.name, "shop", settings)


def up_lines(done: Done) -> int:
    return sum("UP" in each["balancers"].values() for each in done.last["data"]["instances"])


def there_and_back(shop: Project, users_at: str, tmp_path: Path) -> None:
    """Blue/green, a broken one in place, and back in place: nobody notices."""
    shop.deploy("setup")
    first = shop.deploy("push")
    with traffic(users_at, tmp_path / "log") as users:
        shop.version("2")
        second = shop.deploy("push", "--strategy", "bluegreen")
        shop.breaks("health")
        broken = shop.deploy("push", expect=5)
        shop.mends()
        shop.deploy("rollback", "--strategy", "restart")
    users.demand(proven={first.release, second.release}, at_least=300)
    assert broken.last["outcome"] == "rolled_back"
    assert up_lines(shop.deploy("status")) == 3


def test_a_users_own_commands_drain_and_admit(theirs: Lab, tmp_path: Path) -> None:
    commands = {"kind": "command", "backend": "theirs", **{v: f"lbctl {v}" for v in ("drain", "admit", "state")}}
    project = shop(theirs, tmp_path, "theirs", commands)
    there_and_back(project, address(theirs, "theirs"), tmp_path)


def test_commands_that_fail_or_lie_cost_nobody_anything(theirs: Lab, tmp_path: Path) -> None:
    commands = {"kind": "command", "backend": "theirs", **{v: f"lbctl {v}" for v in ("drain", "admit", "state")}}
    project = shop(theirs, tmp_path, "theirs", commands)
    project.deploy("push")
    project.deploy("drain", "web2", "--reason", "a broken disk")
    assert up_lines(project.deploy("status")) == 2
    project.deploy("admit", "web2")
    assert up_lines(project.deploy("status")) == 3

    # A run that dies leaves a server out; the next one asks `state`, and puts it back.
    project.settings({"balancer": {**commands, "drain": "lbctl drain && echo lost >&2 && exit 3"}})
    project.version("4")
    failed = project.deploy("push", expect=None)
    assert failed.exit != 0 and "balancer.drain failed: exit status 3" in failed.error["message"], failed.summary
    project.settings({"balancer": commands})
    project.deploy("push")
    assert up_lines(project.deploy("status")) == 3

    # What does not do as it says is not believed: nothing stops while `state` says that requests go there.
    project.settings({"balancer": {**commands, "drain": "true"}})
    project.version("5")
    with traffic(address(theirs, "theirs"), tmp_path / "log2") as users:
        refused = project.deploy("push", expect=None)
    assert refused.exit in (5, 6), refused.summary
    assert users.receipt is not None
    assert users.receipt.failed == 0, users.receipt.causes
    project.settings({"balancer": commands})
    project.deploy("push")


def test_a_pool_of_haproxy_that_somebody_else_configures(theirs: Lab, tmp_path: Path) -> None:
    config = lb1(theirs) / "etc/haproxy/haproxy.cfg"
    before = config.read_text()
    project = shop(theirs, tmp_path, "others", {"kind": "haproxy", "manage": False})
    there_and_back(project, address(theirs, "others"), tmp_path)
    assert config.read_text() == before
    assert not list((lb1(theirs) / "etc/haproxy/deploy").glob("[0-9]*")), "nothing there is ours to write"
