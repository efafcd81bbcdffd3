"""What no balancer's adapter can move is refused before any host is asked, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import SettingsError
from deployer.rollout.run.project import load


def project(folder: Path, balancer: str) -> Path:
    (folder / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (folder / "requirements.txt").write_text("fastapi\nuvicorn\n")
    (folder / "deploy.yaml").write_text(f"app: shop\nbalancer:\n{balancer}")
    (folder / "inventories").mkdir()
    (folder / "inventories/prod.yaml").write_text(
        "web: {hosts: {web1.example.com: {}}}\nbalancers: {hosts: {lb1.example.com: {}}}\n"
    )
    return folder


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_foreign_pool_of_nginx_or_caddy(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SettingsError, match=r"balancer\.manage: false does not work with") as raised:
        load("prod", start=project(tmp_path, f"  kind: {kind}\n  manage: false\n"))
    assert raised.value.line == 4 and "kind: command" in str(raised.value.hint)


def test_a_foreign_pool_of_haproxy_and_commands_are_fine(tmp_path: Path) -> None:
    made = load("prod", start=project(tmp_path, "  manage: false\n"))
    assert made.topology.kind == "haproxy" and made.topology.why_no_figures


def test_commands_are(tmp_path: Path) -> None:
    made = load("prod", start=project(tmp_path, "  {kind: command, drain: a, admit: b, state: c}\n"))
    (balancer,) = made.topology.balancers
    driver = made.topology.balancer_adapter.driver(made.topology.pool(balancer))
    assert driver["servers"]["web1.example.com-8000"] == {"host": "web1.example.com", "instance": "0"}
    assert driver["addresses"]["web1.example.com-8000"] == "web1.example.com:8000"
    assert (driver["drain"], driver["backend"], driver["timeout"]) == ("a", "shop-prod", 30.0)
