"""UNIX sockets on real hosts: users and rights as they are, a reboot, and a socket that systemd holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agents import until
from support.inventories import inventory
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(1200)]

QUICK: dict[str, Any] = {
    "bind": "unix",
    "health": {"within": "60s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "3s", "soak": "500ms"},
}
PROXY = """\
printf '[Socket]\\nListenStream=9000\\nNoDelay=true\\n' > /etc/systemd/system/front.socket
printf '[Service]\\nExecStart=/lib/systemd/systemd-socket-proxyd %s\\n' > /etc/systemd/system/front.service
systemctl daemon-reload && systemctl start front.socket
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="machines", hosts=1, balancer="nginx"), print)
    finally:
        down(name, print)


def says(lab: Lab, host: str, command: str) -> str:
    done = lab.exec(host, ["sh", "-c", command])
    assert done.returncode == 0, (done.stdout, done.stderr)
    return str(done.stdout).strip()


def test_nginx_on_the_apps_own_host_and_a_reboot(lab: Lab, tmp_path: Path) -> None:
    where = ("-i", str(inventory(lab, tmp_path / "one.yaml", ["lb1"], ["lb1"], "nginx")))
    shop = Project(tmp_path / "shop", lab.name, "shop", {**QUICK, "python": {"with": ["gunicorn", "uvicorn-worker"]}})
    shop.deploy("setup", *where)
    assert shop.deploy("setup", *where).last["outcome"] == "unchanged"
    proven = {shop.deploy("push", *where).release}
    folder = f"/run/deploy/shop-{lab.name}"
    assert says(lab, "lb1", f"stat -c '%U %a' {folder}") == "shop 755"
    assert ":8000" not in says(lab, "lb1", "ss -tln")
    with traffic(lab.address, tmp_path / "log") as users:
        for number, server in enumerate(["uvicorn", "gunicorn+uvicorn"]):
            shop.settings({"runtime": {**QUICK["runtime"], "server": server, "workers": 2}})
            shop.version(2 + number)
            proven.add(shop.deploy("push", *where).release)
        shop.deploy("reload", *where)
        shop.deploy("rollback", *where)
    users.demand(proven=proven, at_least=200)
    shop.deploy("verify", *where)

    # Whoever is killed leaves its socket's file: the next one takes its place.
    says(lab, "lb1", "kill -9 $(systemctl show --property MainPID --value 'shop@*' | grep -v '^0$')")
    until(lambda: shop.deploy("verify", *where, expect=None).exit == 0, 120.0)  # another process serves
    lab.power_off("lb1")
    lab.power_on("lb1")
    until(lambda: shop.deploy("verify", *where, expect=None).exit == 0, 120.0)
    assert says(lab, "lb1", f"stat -c '%U %a' {folder}") == "shop 755"


def test_systemd_holds_the_socket_where_there_is_no_balancer(lab: Lab, tmp_path: Path) -> None:
    """What stands before it is somebody's own: here a plain forwarder of systemd's."""
    where = ("-i", str(inventory(lab, tmp_path / "none.yaml", ["web1"])))
    shop = Project(tmp_path / "shop", lab.name, "shop", {**QUICK, "python": {"with": ["gunicorn", "uvicorn-worker"]}})
    shop.settings({"app": "plain", "runtime": {**QUICK["runtime"], "server": "gunicorn+uvicorn", "workers": 2}})
    shop.deploy("setup", *where)
    first = shop.deploy("push", *where)
    assert first.of("plan.made")[0]["plan"]["strategy"] == "socket"
    path = f"/run/deploy/plain-{lab.name}/8000.sock"
    says(lab, "web1", PROXY % path)
    with traffic(f"{lab.hosts['web1']['host']}:9000", tmp_path / "log", mix="http", rate=12, limit=60.0) as users:
        shop.version(2)
        second = shop.deploy("push", *where)
        shop.deploy("rollback", *where)
    receipt = users.receipt
    assert receipt is not None
    # The race of uvicorn's workers, which a balancer that drains would have spared: one a restart at most.
    assert set(receipt.causes) <= {"reset", "closed"} and receipt.failed <= 2, (receipt.causes, receipt.failures[:10])
    assert set(receipt.releases) == {first.release, second.release} and receipt.requests >= 100
    assert says(lab, "web1", f"stat -c %F {path}") == "socket"
    shop.deploy("verify", *where)
