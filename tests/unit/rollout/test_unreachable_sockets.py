"""`bind: unix` where nobody could reach the sockets is refused before any host is asked, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import SettingsError
from deployer.rollout.run.project import load

ONE = "web: {hosts: {web1: {}}}\nbalancers: {hosts: {web1: {}}}\n"
APART = "web: {hosts: {web1: {}}}\nbalancers: {hosts: {lb1: {}}}\n"
TWO = "web: {hosts: {web1: {}, web2: {}}}\nbalancers: {hosts: {web1: {}, web2: {}}}\n"
NONE = "web: {hosts: {web1: {}, web2: {}}}\n"


def project(folder: Path, inventory: str, kind: str = "nginx", root: str = "") -> Path:
    (folder / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (folder / "requirements.txt").write_text("fastapi\nuvicorn\n")
    balancer = f"balancer: {kind}\n" if kind.startswith("{") else f"balancer: {{kind: {kind}}}\n"
    (folder / "deploy.yaml").write_text(f"app: shop\nbind: unix\n{balancer}")
    (folder / "inventories").mkdir()
    (folder / "inventories/prod.yaml").write_text(inventory)
    return folder


@pytest.mark.parametrize(
    ("inventory", "kind", "why"),
    [
        (ONE, "haproxy", "chroot"),
        (ONE, "{kind: command, drain: a, admit: b, state: c}", "only your own commands know"),
        (APART, "nginx", "web1 is not all of lb1"),
        (TWO, "caddy", "web1 is not all of web1 and web2"),
    ],
)
def test_a_balancer_that_cannot_reach_them(tmp_path: Path, inventory: str, kind: str, why: str) -> None:
    with pytest.raises(SettingsError, match="bind: unix: ") as raised:
        load("prod", start=project(tmp_path, inventory, kind))
    assert why in raised.value.message and "leave bind out" in str(raised.value.hint)
    assert (Path(str(raised.value.file)).name, raised.value.line) == ("deploy.yaml", 2)


@pytest.mark.parametrize(("inventory", "kind"), [(ONE, "nginx"), (ONE, "caddy"), (NONE, "none")])
def test_one_that_can_and_none(tmp_path: Path, inventory: str, kind: str) -> None:
    made = load("prod", start=project(tmp_path, inventory, kind)).topology
    assert made.instance(made.web[0], 0, 8000).address == "/run/deploy/shop-prod"
    for balancer in made.balancers:
        (first, spare) = made.pool(balancer).servers
        assert (first.address, first.port, spare.port) == ("/run/deploy/shop-prod", 8000, 8500)


def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    long = "deploy_prefix: /" + "long/" * 20
    with pytest.raises(SettingsError, match="more than the 107 bytes"):
        load("prod", start=project(tmp_path, f"web: {{hosts: {{web1: {{{long}}}}}}}\n", "none"))
