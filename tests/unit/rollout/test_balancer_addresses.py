"""Addresses that a balancer cannot use are refused when settings and inventory are read, by host or by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.balancers.base import port_in, server_name
from deployer.balancers.values import Listen
from deployer.errors import DeployError
from deployer.rollout.run.project import Project, load

KINDS = ("haproxy", "nginx", "caddy")


def project(folder: Path, web: str, balancer: str = "kind: haproxy", lb: str = "") -> Project:
    (folder / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (folder / "requirements.txt").write_text("fastapi\nuvicorn\n")
    (folder / "deploy.yaml").write_text(f"app: shop\nbalancer:\n  {balancer}\n")
    (folder / "inventories").mkdir()
    text = f"web: {{hosts: {{{web}}}}}\nbalancers: {{hosts: {{lb1: {{{lb}}}}}}}\n"
    (folder / "inventories/prod.yaml").write_text(text)
    return load("prod", start=folder)


def refused(folder: Path, web: str, balancer: str = "kind: haproxy", lb: str = "") -> DeployError:
    with pytest.raises(DeployError) as caught:
        project(folder, web, balancer, lb)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_zone_is_refused_with_the_host(tmp_path: Path, kind: str) -> None:
    error = refused(tmp_path, 'web1: {ansible_host: "fe80::1%eth0"}', f"kind: {kind}")
    assert "the zone in [fe80::1%eth0] is valid only on this machine" in error.message
    assert error.host == "web1" and error.hint and "deploy: {shop: {address: …}}" in error.hint


def test_a_zone_is_for_ssh_alone_where_the_balancer_has_another_address(tmp_path: Path) -> None:
    web = 'web1: {ansible_host: "fe80::1%eth0", deploy: {shop: {address: "fd00::1"}}}'
    (web1,) = project(tmp_path, web).topology.web
    assert (web1.own.address, web1.host.ssh.hostname) == ("fd00::1", "fe80::1%eth0")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("192.0.2.1:8000", "has a port"),
        ("[fd00::1]:8000", "has a port"),
        ("fd00::g", "is not a host name"),
        ("fe80::1%eth0", "the zone in"),
    ],
)
def test_another_address_that_cannot_work(tmp_path: Path, address: str, says: str) -> None:
    error = refused(tmp_path, f'web1: {{deploy: {{shop: {{address: "{address}"}}}}}}')
    assert says in error.message and error.host == "web1"


@pytest.mark.parametrize("listen", ["[fe80::1%eth0]:80", "fd00::1:80", "[::g]:80", "[:::]:80", "[192.0.2.1]:80"])
def test_an_address_to_listen_at_is_refused_at_its_line(tmp_path: Path, listen: str) -> None:
    error = refused(tmp_path, "web1: {}", f'listen: "{listen}"')
    assert Path(str(error.file)).name == "deploy.yaml" and error.line == 3, error


def test_a_variable_to_listen_at_is_refused_with_its_host(tmp_path: Path) -> None:
    error = refused(tmp_path, "web1: {}", lb='deploy_listen: "[::1]"')
    assert "the variable deploy_listen: '[::1]' is not an address" in error.message and error.host == "lb1"


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_that_is_named_by_its_address_has_a_server(tmp_path: Path, kind: str) -> None:
    topology = project(tmp_path, '"::1": {}', f"kind: {kind}").topology
    (balancer,) = topology.balancers
    pool = topology.pool(balancer)
    assert [(each.name, each.address) for each in pool.servers] == [("host--1-8000", "::1"), ("host--1-8500", "::1")]
    assert topology.balancer_adapter.resources(pool)
    assert topology.instance_of("host--1-8000") == "::1:0"


def test_names_of_servers_begin_with_a_letter_or_a_digit() -> None:
    assert [server_name(host, 8000) for host in ("web1", "fd00::2", "::1", "_web")] == [
        "web1-8000",
        "fd00--2-8000",
        "host--1-8000",
        "host_web-8000",
    ]
    assert port_in("host--1-8000", "::1") == 8000


def test_every_address_of_ipv6_is_every_address_of_ipv4_too() -> None:
    assert Listen.parse("[::]:80").texts == ("[::]:80", ":80")
    assert Listen.parse("[::1]:80").texts == ("[::1]:80",)
