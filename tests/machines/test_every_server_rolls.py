"""Every server under every supervisor, rolled through three real hosts behind HAProxy while users are there.

All six apps and a bystander live on the same hosts and the same balancer, so each change also shows that it costs the
others nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab

SERVERS = ("uvicorn", "gunicorn", "gunicorn+uvicorn")
SUPERVISORS = ("systemd", "supervisord")
QUICK = {
    "health": {"within": "20s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}


@pytest.fixture(scope="module")
def bystander(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Another app on the same hosts, which nobody touches."""
    settings = {"app": "bystander", "domains": ["bystander.test"], "port": 8100, **QUICK}
    project = Project(tmp_path_factory.mktemp("bystander") / "notes", lab.name, "notes", settings)
    project.deploy("setup")
    project.deploy("push")
    return project


def made(server: str, supervisor: str, lab: Lab, folder: Path) -> Project:
    """One app with a name and ports of its own for each combination. gunicorn alone serves the Flask example."""
    number = SERVERS.index(server) * 2 + SUPERVISORS.index(supervisor)
    app = f"{server.replace('+', '-')}-{supervisor}"
    settings = {
        "app": app,
        "domains": [f"{app}.test"],
        "port": 8000 + 10 * number,
        "supervisor": supervisor,
        "unit": {"LimitNOFILE": 4096} | ({"MemoryMax": "700M"} if supervisor == "systemd" else {}),
        # A sync worker serves one request at a time, and a tenth of these take two seconds.
        "runtime": {"server": server, "workers": 8 if server == "gunicorn" else 2, "graceful_timeout": "5s"},
        "python": {"with": ["gunicorn", "uvicorn-worker"] if "+" in server else ["gunicorn"]},
        **QUICK,
    }
    return Project(folder / app, lab.name, "notes" if server == "gunicorn" else "shop", settings)


def goes_unnoticed(project: Project, lab: Lab, folder: Path) -> None:
    """Two pushes, a reload and a rollback while users are there, and everything as it should be afterwards."""
    mix = "http" if (project.folder / "app.py").exists() else "full"
    app = project.folder.name
    project.deploy("setup")
    first = project.deploy("push").release
    with traffic(lab.address, folder / f"{app}.log", mix=mix, rate=25, host_header=f"{app}.test") as users:
        project.version(2)
        second = project.deploy("push")
        project.version(3)
        third = project.deploy("push")
        reloaded = project.deploy("reload", "--rolling")
        back = project.deploy("rollback")
    assert second.last["outcome"] == third.last["outcome"] == "succeeded"
    assert reloaded.release == third.release
    assert back.release == second.release
    users.demand(proven={first, second.release, third.release}, at_least=500)
    status = project.deploy("status")
    states = [instance for host in status.last["hosts"].values() for instance in host["instances"].values()]
    assert [state["state"] for state in states] == ["proven"] * 3
    assert {state["release"] for state in states} == {second.release}
    project.deploy("verify")
    port = status.last["hosts"]["web1"]["instances"]["0"]["port"]
    if app.endswith("-systemd"):
        assert exposure(lab, "web1", f"{app}@{port}.service") <= 2.0
    limits_hold(lab, "web1", app, port)


def limits_hold(lab: Lab, host: str, app: str, port: int) -> None:
    """`unit:` bounds what runs: files under both supervisors, memory where the host has that controller."""
    systemd = app.endswith("-systemd")
    asked = ["systemctl", "show", "--property", "MainPID", "--value", f"{app}@{port}.service"]
    pid = lab.exec(host, asked if systemd else ["supervisorctl", "pid", f"{app}-{port}"]).stdout.strip()
    limits = lab.exec(host, ["cat", f"/proc/{pid}/limits"]).stdout
    (files,) = [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files")]
    assert files == ["4096", "4096"]
    if not systemd:
        return
    shown = lab.exec(host, ["systemctl", "show", "--property", "MemoryMax", "--value", f"{app}@{port}.service"])
    assert shown.stdout.strip() == str(700 << 20)
    group = lab.exec(host, ["sed", "-n", "s/^0:://p", f"/proc/{pid}/cgroup"]).stdout.strip()
    held = lab.exec(host, ["cat", f"/sys/fs/cgroup{group}/memory.max"])
    if held.returncode == 0:  # where not: test_the_kernel_holds_memory_and_cpu
        assert held.stdout.strip() == str(700 << 20)


@pytest.mark.more
def test_the_kernel_holds_memory_and_cpu(lab: Lab, tmp_path: Path) -> None:
    have = lab.exec("web1", ["cat", "/sys/fs/cgroup/cgroup.controllers"]).stdout.split()
    if not {"memory", "cpu"} <= set(have):
        pytest.skip(
            f"this machine gives its hosts the controllers {have or 'none'}: it takes memory and cpu (cgroup v2)"
        )
    unit = {"MemoryMax": "300M", "CPUQuota": "50%"}
    project = Project(tmp_path / "held", lab.name, "notes", {"app": "held", "port": 8990, "unit": unit, **QUICK})
    project.deploy("setup")
    project.deploy("push")
    pid = lab.exec(
        "web1", ["systemctl", "show", "--property", "MainPID", "--value", "held@8990.service"]
    ).stdout.strip()
    group = "/sys/fs/cgroup" + lab.exec("web1", ["sed", "-n", "s/^0:://p", f"/proc/{pid}/cgroup"]).stdout.strip()
    assert lab.exec("web1", ["cat", f"{group}/memory.max"]).stdout.strip() == str(300 << 20)
    quota, period = lab.exec("web1", ["cat", f"{group}/cpu.max"]).stdout.split()
    assert int(quota) * 2 == int(period)


def exposure(lab: Lab, host: str, unit: str) -> float:
    """What systemd makes of a unit that runs on a host: 0 for one that can do nothing, 10 for one that may do all."""
    assert lab.exec(host, ["systemctl", "is-active", unit]).returncode == 0
    said = lab.exec(host, ["systemd-analyze", "security", "--no-pager", unit])
    return float(said.stdout.partition("exposure level for ")[2].split(": ")[1].split()[0])


@pytest.mark.parametrize(
    ("supervisor", "servers"),
    [
        ("systemd", SERVERS[-1:]),
        pytest.param("systemd", SERVERS[:-1], marks=pytest.mark.more),
        pytest.param("supervisord", SERVERS, marks=pytest.mark.more),
    ],
    ids=["systemd", "systemd-others", "supervisord"],
)
def test_two_pushes_a_reload_and_a_rollback_go_unnoticed(
    supervisor: str, servers: tuple[str, ...], bystander: Project, lab: Lab, tmp_path: Path
) -> None:
    """The servers change at the same time, each a run of its own on the same hosts."""
    with (
        traffic(lab.address, tmp_path / "other", mix="http", rate=5, host_header="bystander.test") as others,
        ThreadPoolExecutor(len(servers)) as pool,
    ):
        projects = [made(server, supervisor, lab, tmp_path) for server in servers]
        stories = [pool.submit(goes_unnoticed, project, lab, tmp_path) for project in projects]
        for story in stories:
            story.result()
    others.demand(proven={bystander.deploy("status").release}, at_least=80, rate=4)
