"""A release and its hook on a real systemd host, where the end of a login kills everything in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.agents import host_of, until

from deployer.agent.model.layout import Site
from deployer.artifact import manifest, secretfile
from deployer.lab import Lab, LabSpec, up
from deployer.remote.errors import AgentError
from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer

pytestmark = pytest.mark.machines
RELEASE = "20261101T100000Z-aaaaaaaa"
SITE = vars(Site("shop", "prod", "/srv/shop", user="shop"))


def test_a_migration_survives_its_agent_and_the_end_of_the_login(lab_name: str, dialer: Dialer, tmp_path: Path) -> None:
    lab = up(LabSpec(name=lab_name, kind="machines", hosts=1, balancer="none", kill_user_processes=True), print)
    host = host_of(lab)
    lab.exec("web1", ["useradd", "--system", "--home-dir", "/srv/shop", "shop"])
    lab.exec("web1", ["mkdir", "-p", "/srv/shop"])

    with Session.open(host, dialer=dialer) as agent:
        make_release(agent, tmp_path)
    first = Session.open(host, dialer=dialer)
    first.call("lock.take", {"site": SITE, "run": "run1", "who": "test", "wait": 0})
    command = "id -un; cat /proc/self/cgroup; until test -e /srv/shop/shared/go; do sleep 0.1; done; echo migrated"
    hook = {"site": SITE, "release": RELEASE, "command": command, "env": {}, "timeout": 60, "rerun_safe": False}
    first.request("hook.release", {**hook, "run": "run1"})
    log = "/srv/shop/.deploy/hooks/run1.log"
    until(lambda: "shop" in read(lab, log), within=30)
    pid = read(lab, "/srv/shop/.deploy/hooks/" + RELEASE + ".running").strip()
    assert "deploy-hook-shop-run1" in read(lab, f"/proc/{pid}/cgroup")
    agents_pid = json.loads(read(lab, "/srv/shop/.deploy/lock"))["pid"]
    first.kill()
    lab.exec("web1", ["kill", "-9", str(agents_pid)])
    until(lambda: "session-" not in lab.exec("web1", ["loginctl", "list-sessions", "--no-legend"]).stdout, within=30)

    with Session.open(host, dialer=dialer) as second:
        with pytest.raises(AgentError) as caught:
            second.call("lock.take", {"site": SITE, "run": "run2", "who": "test", "wait": 0})
        assert caught.value.code == "locked"
        lab.exec("web1", ["touch", "/srv/shop/shared/go"])
        assert second.call("lock.take", {"site": SITE, "run": "run2", "who": "test", "wait": 30}) == {"taken": True}
        assert second.call("hook.release", {**hook, "run": "run2"})["skipped"]
    said = read(lab, log).split("\n")
    assert said[0] == "shop" and said[-2] == "migrated"
    units = lab.exec("web1", ["systemctl", "list-units", "--all", "--no-legend", "deploy-hook-*"]).stdout
    assert units.strip() == ""


def read(lab: Lab, path: str) -> str:
    return lab.exec("web1", ["sh", "-c", f"cat {path} 2>/dev/null || true"]).stdout


def make_release(agent: Session, folder: Path) -> None:
    """secrets.write, begin, fill, build over a real session."""
    source = folder / "source"
    source.mkdir()
    (source / "app.py").write_text("x = 1\n")
    (source / "big.bin").write_bytes(bytes(range(256)) * 8192)
    shipped = manifest.scan(source)
    text = secretfile.render({"KEY": "it's"}).encode()
    assert agent.call("secrets.write", {"site": SITE}, body=text) == {"changed": True}
    begun = agent.call("release.begin", {"site": SITE, "release": RELEASE}, body=shipped.as_bytes())
    filled = agent.call(
        "release.fill", {"site": SITE, "release": RELEASE}, body=manifest.pack(shipped, begun["missing"], source)
    )
    assert filled["files"] == 2
    inspected = agent.call("venv.inspect", {"python": "/usr/bin/python3"})
    assert inspected["implementation"] == "cpython"
    venv = {"key": "none", "python": "/usr/bin/python3", "installer": "none"}
    check = {"argv": [".venv/bin/python", "-c", "import app, os; assert os.environ['KEY'] == \"it's\""]}
    args = {"site": SITE, "release": RELEASE, "run": "#!/bin/sh\n", "files": {}, "meta": {}, "venv": venv, "env": {}}
    made = agent.call("release.build", {**args, "prepare": {"command": "id -un > who"}, "check": check})
    assert made["built"]
