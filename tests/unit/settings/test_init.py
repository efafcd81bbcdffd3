"""`deploy init`: a few lines that load, and nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import SettingsError
from deployer.inventory.load import load as load_inventory
from deployer.settings.init import app_name, propose, write
from deployer.settings.load import load

FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"


def test_what_it_writes_loads_and_is_short(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop_2"
    folder.mkdir()
    (folder / "main.py").write_text(FASTAPI)
    (folder / "alembic.ini").write_text("")
    paths = write(folder)
    assert paths == (folder / "deploy.yaml", folder / "inventories" / "prod.yaml")
    settings = load(folder / "deploy.yaml", "prod", environ={}).settings
    assert settings.app == "my-shop-2"
    assert settings.python.with_ == ("uvicorn",)
    assert settings.hooks.release is not None and settings.hooks.release.command == "alembic upgrade head"
    assert len(paths[0].read_text().splitlines()) <= 6
    assert [host.ssh.user for host in load_inventory("prod", folder).hosts] == ["root"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "prod.yml").write_text("web: {hosts: {a: {}}}\n")
    assert list(propose(tmp_path)) == [tmp_path / "deploy.yaml"]
    (tmp_path / "deploy.yaml").write_text("app: mine\n")
    with pytest.raises(SettingsError, match="already there"):
        write(tmp_path)
    assert (tmp_path / "deploy.yaml").read_text() == "app: mine\n"


def test_several_apps_are_offered(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    (tmp_path / "app.py").write_text(FASTAPI)
    write(tmp_path)
    assert load(tmp_path / "deploy.yaml", "prod", environ={}).settings.runtime.app == "main:app"
    assert "also found: app:app" in (tmp_path / "deploy.yaml").read_text()


def test_a_folder_without_an_app_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no ASGI or WSGI app"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "project", "name"),
    [("Shop", None, "shop"), ("x", "My.Web_App", "my-web-app"), ("2024-shop", None, "shop"), ("___", None, "app")],
)
def test_the_name(tmp_path: Path, folder: str, project: str | None, name: str) -> None:
    path = tmp_path / folder
    path.mkdir()
    if project:
        (path / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    assert app_name(path) == name
