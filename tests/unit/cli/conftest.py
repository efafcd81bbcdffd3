"""The command line driven in this process, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployer.cli.app import app

Deploy = Callable[..., Any]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with nothing of this machine's user."""
    for name in ("DEPLOY_ENV", "DEPLOY_SUDO_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def deploy() -> Deploy:
    """Runs one `deploy` command and returns what the runner has seen."""

    def run(*args: str, answers: str = "") -> Any:
        return CliRunner().invoke(app, list(args), input=answers)

    return run


@pytest.fixture
def project(folder: Path) -> Path:
    """A project with two web hosts and a balancer."""
    (folder / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (folder / "requirements.txt").write_text("fastapi\nuvicorn\n")
    (folder / "deploy.yaml").write_text("app: shop\ndomains: [shop.example.com]\n")
    inventories = folder / "inventories"
    inventories.mkdir()
    hosts = 'web: {hosts: {"web[1:2].example.com": {ansible_user: root}}}\n'
    (inventories / "prod.yaml").write_text(hosts + "balancers: {hosts: {lb1.example.com: {ansible_user: root}}}\n")
    return folder
