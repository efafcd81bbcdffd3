"""What balancers know of servers that serve changes: their addresses, their health check, IPv6 in place of IPv4.

Users are there all the time. HAProxy, nginx and Caddy on real hosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.caddy import real_caddy
from support.ipv6 import give_ipv6
from support.labs import fresh_name
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, down, up

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(1500)]

QUICK: dict[str, Any] = {
    "health": {"within": "30s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "3s", "soak": "500ms", "waves": [1], "max_unavailable": 1},
}
WITHIN_S = 600.0

READY = """

async def ready(request: Request) -> Response:
    asked = (request.headers.get("host"), request.headers.get("x-check"))
    return Response(status_code=204 if asked == ("inner.test", "yes") else 418)


async def private(request: Request) -> Response:
    return Response(status_code=200 if request.client.host in ("127.0.0.1", "::1") else 403)


app.add_route("/ready", ready)
app.add_route("/private", private)
"""
READY_CHECK = {"path": "/ready", "status": 204, "headers": {"X-Check": "yes", "Host": "inner.test"}, "within": "30s"}


@dataclass(frozen=True)
class Fleet:
    """Two web hosts behind one balancer. `ipv6` is host → its second address."""

    lab: Lab
    kind: str
    ipv6: dict[str, str]

    @property
    def stale(self) -> int:
        """How many idle connections may be closed as a request comes: nginx closes all when its pool changes."""
        return 60 if self.kind == "nginx" else 0

    @property
    def closed(self) -> int:
        """How many new connections may be lost: a Go server that ends, as at a reload of Caddy, may drop one."""
        return 2 if self.kind == "caddy" else 0

    def inventory(self, path: Path, **addresses: str) -> Path:
        """The lab's inventory, in which the balancer reaches web hosts at other addresses."""
        yaml = YAML(typ="safe")
        yaml.default_flow_style = False
        data = yaml.load(Path(self.lab.inventory).read_text())
        for host, address in addresses.items():
            data["web"]["hosts"][host]["deploy"] = {"shop": {"address": address}}
        with path.open("w") as out:
            yaml.dump(data, out)
        return path


@pytest.fixture(scope="module", params=["haproxy", "nginx", "caddy"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    if request.param == "caddy":
        real_caddy()
    name = fresh_name()
    try:
        lab = up(LabSpec(name=name, hosts=2, balancer=request.param), print)
        yield Fleet(lab, request.param, give_ipv6(lab))
    finally:
        down(name, print)


@pytest.fixture(scope="module")
def shop(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("shop") / "shop", fleet.lab.name, "shop", QUICK)
    made.deploy("setup", within=WITHIN_S)
    made.deploy("push", within=WITHIN_S)
    return made


def places(shop: Project, *args: str) -> dict[str, str]:
    """Instance → its state at the balancer; the command asserts that everything serves."""
    found = shop.deploy("status", *args, within=WITHIN_S).last["data"]["instances"]
    return {f"{each['host']}:{each['index']}": each["balancers"]["lb1"] for each in found}


def test_addresses_change_there_and_back_and_to_a_dead_one(fleet: Fleet, shop: Project, tmp_path: Path) -> None:
    lab, ipv6 = fleet.lab, fleet.ipv6
    there = str(fleet.inventory(tmp_path / "there.yaml", web1=ipv6["web1"], web2=ipv6["web2"]))
    nobody = ipv6["web2"].rpartition(":")[0] + ":dead"
    silent = str(fleet.inventory(tmp_path / "silent.yaml", web1=ipv6["web1"], web2=nobody))
    # The balancer's own host refuses the connection, as a host does whose release does not listen with IPv4 yet.
    wrong = str(fleet.inventory(tmp_path / "wrong.yaml", web1=ipv6["web1"], web2=lab.hosts["lb1"]["host"]))
    first = shop.deploy("status", within=WITHIN_S).release
    with traffic(lab.address, tmp_path / "log", rate=20) as users:
        shop.version(2)
        moved = shop.deploy("push", "-i", there, within=WITHIN_S)
        assert places(shop, "-i", there) == {"web1:0": "UP", "web2:0": "UP"}
        shop.version(3)
        for command in ("plan", "push", "doctor"):
            refused = shop.deploy(command, "-i", silent, expect=3, within=WITHIN_S)
            assert refused.error["code"] == "new_address" and nobody in refused.error["message"], refused.summary
        shop.deploy("plan", "-i", wrong, within=WITHIN_S)
        failed = shop.deploy("push", "-i", wrong, expect=5, within=WITHIN_S)
        assert failed.last["outcome"] == "rolled_back", failed.summary
        assert places(shop, "-i", there) == {"web1:0": "UP", "web2:0": "UP"}
        back = shop.deploy("push", within=WITHIN_S)
        assert places(shop) == {"web1:0": "UP", "web2:0": "UP"}
    receipt = users.demand(
        proven={first, moved.release, failed.release, back.release}, at_least=400, rate=10, stale=fleet.stale
    )
    print(f"addresses behind {fleet.kind}: {receipt.requests} requests, {receipt.failed} failed, {receipt.stale} stale")


def test_setup_of_a_stopped_balancer_moves_no_server(fleet: Fleet, shop: Project, tmp_path: Path) -> None:
    """What setup starts sends requests to where the instances are known to answer."""
    service = {"caddy": "deploy-caddy"}.get(fleet.kind, fleet.kind)
    nobody = fleet.ipv6["web2"].rpartition(":")[0] + ":dead"
    silent = str(fleet.inventory(tmp_path / "silent.yaml", web1=nobody, web2=nobody))
    fleet.lab.exec("lb1", ["systemctl", "stop", service])
    shop.deploy("status", "-i", silent, expect=7, within=WITHIN_S)
    shop.deploy("setup", "-i", silent, within=WITHIN_S)
    assert places(shop) == {"web1:0": "UP", "web2:0": "UP"}
    assert shop.deploy("push", "-i", silent, expect=3, within=WITHIN_S).error["code"] == "new_address"


def test_the_health_check_of_what_serves_changes(fleet: Fleet, shop: Project, tmp_path: Path) -> None:
    code = (shop.folder / "main.py").read_text()
    first = shop.deploy("status", within=WITHIN_S).release
    with traffic(fleet.lab.address, tmp_path / "log", rate=20) as users:
        shop.settings({"health": READY_CHECK})
        changed = shop.commit("another health check", main__py=code + READY)
        ready = shop.deploy("push", within=WITHIN_S)
        assert places(shop) == {"web1:0": "UP", "web2:0": "UP"}, changed

        outcomes = []
        for wrong in (
            {**READY_CHECK, "path": "/nowhere"},
            {**READY_CHECK, "status": 200},
            {**READY_CHECK, "headers": {"Host": "inner.test"}},
            {**READY_CHECK, "headers": {"X-Check": "yes", "Host": "outer.test"}},
            {"path": "/private", "status": 200},  # answers its own host alone, and no balancer
        ):
            shop.settings({"health": {**wrong, "within": "6s"}})
            shop.commit(f"a health check that fails: {wrong}")
            failed = shop.deploy("push", expect=5, within=WITHIN_S)
            outcomes.append((failed.release, failed.last["outcome"]))
        shop.settings({"health": READY_CHECK})
        assert places(shop) == {"web1:0": "UP", "web2:0": "UP"}
        shop.settings({"health": QUICK["health"]})
        shop.commit("the health check of before", main__py=code)
        back = shop.deploy("push", within=WITHIN_S)
    assert {outcome for _, outcome in outcomes} == {"rolled_back"}
    proven = {first, ready.release, back.release, *(release for release, _ in outcomes)}
    receipt = users.demand(proven=proven, at_least=600, rate=10, stale=fleet.stale, closed=fleet.closed)
    print(f"health checks behind {fleet.kind}: {receipt.requests} requests, {receipt.failed} failed")


def test_everything_is_reached_with_ipv6(fleet: Fleet, tmp_path: Path) -> None:
    """SSH, a gateway, pinned keys, the pool, users, the probe, and the request for each of the app's names."""
    lab, ipv6 = fleet.lab, fleet.ipv6
    entry = lab.hosts["lb1"]
    common = {"ansible_user": entry["user"], "ansible_ssh_private_key_file": entry["key"]}
    jump = {"ansible_ssh_common_args": f"-o ProxyJump={entry['user']}@[{ipv6['lb1']}]:22"}
    data = {
        "all": {"vars": common},
        "web": {"hosts": {f"[{ipv6['web1']}]:22": {}, "web2": {"ansible_host": ipv6["web2"], **jump}}},
        "balancers": {"hosts": {ipv6["lb1"]: {}}, "vars": {"deploy_balancer": fleet.kind}},
    }
    settings = {
        **QUICK,
        "app": "six",
        "port": 8100,
        "domains": ["six.test"],
        "balancer": {"listen": "[::]:8080"},
    }
    six = Project(tmp_path / "six", "prod", "shop", settings)
    (six.folder / "inventories").mkdir()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    with (six.folder / "inventories/prod.yaml").open("w") as out:
        yaml.dump(data, out)
    six.commit("an inventory")
    six.deploy("doctor", expect=3, within=WITHIN_S)  # no key is known
    six.deploy("trust", "--yes", within=WITHIN_S)
    known = (six.folder / "inventories/known_hosts").read_text()
    assert {line.split()[0] for line in known.splitlines()} == set(ipv6.values()), known
    six.deploy("setup", within=WITHIN_S)
    first = six.deploy("push", within=WITHIN_S)
    six.deploy("doctor", within=WITHIN_S)
    url = f"http://[{ipv6['lb1']}]:8080/version"
    with (
        traffic(f"[{ipv6['lb1']}]:8080", tmp_path / "log", rate=20, host_header="six.test") as users,
        traffic(f"{entry['host']}:8080", tmp_path / "log4", rate=5, mix="http", host_header="six.test") as others,
    ):
        six.version(2)
        # A probe without the app's name is told which name leads there.
        nameless = six.deploy("push", "--probe", url, expect=3, within=WITHIN_S)
        assert nameless.error["code"] == "probe_url", nameless.summary
        second = six.deploy("push", within=WITHIN_S)
        six.deploy("reload", within=WITHIN_S)
        back = six.deploy("rollback", within=WITHIN_S)
    assert back.release == first.release
    for each in (users, others):
        receipt = each.demand(
            proven={first.release, second.release}, at_least=100, rate=3, stale=fleet.stale, closed=fleet.closed
        )
        print(f"IPv6 behind {fleet.kind}: {receipt.requests} requests, {receipt.failed} failed")
    [names] = [each["detail"] for each in second.of("step.finished") if each["step"] == "domains"]
    assert names == "six.test answers 200"
    six.deploy("verify", within=WITHIN_S)
    assert places_by_address(six) == {ipv6["web1"]: "UP", "web2": "UP"}


def places_by_address(project: Project) -> dict[str, str]:
    """Host → its state at the only balancer."""
    found = project.deploy("status", within=WITHIN_S).last["data"]["instances"]
    return {each["host"]: next(iter(each["balancers"].values())) for each in found}
