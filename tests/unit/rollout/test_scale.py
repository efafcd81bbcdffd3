"""Where a new size is written, and when it is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import DeployError, NeedsPersonError, RolloutError, StoppedHalfWay
from deployer.rollout.commands.scale import edit_of
from deployer.rollout.run.project import Project, load

HOSTS = 'web: {hosts: {"web[1:2].example.com": {ansible_user: root}}}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one environment."""
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\nuvicorn\n")
    (tmp_path / "deploy.yaml").write_text("app: shop   # ours\ninstances: 1\n")
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/prod.yaml").write_text(HOSTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def project() -> Project:
    return load("prod")


def test_one_environment_has_its_size_in_deploy_yaml(folder: Path) -> None:
    edit = edit_of(project(), {"instances": 3, "workers": 4})
    assert edit.path == folder / "deploy.yaml"
    assert edit.after == "app: shop   # ours\ninstances: 3\nruntime: {workers: 4}\n"
    assert [line for line in edit.diff.splitlines() if line[0] in "+-"][2:] == [
        "-instances: 1",
        "+instances: 3",
        "+runtime: {workers: 4}",
    ]


def test_one_of_several_has_it_in_its_overlay(folder: Path) -> None:
    (folder / "inventories/staging.yaml").write_text(HOSTS)
    edit = edit_of(project(), {"instances": 3})
    assert edit.path == folder / "deploy.prod.yaml" and edit.after == "instances: 3\n"
    with edit.made():
        assert project().topology.settings.instances == 3
        assert load("staging").topology.settings.instances == 1


def test_what_is_said_already_changes_no_file(folder: Path) -> None:
    assert edit_of(project(), {"instances": 1}).diff == ""


@pytest.mark.parametrize("overlay", [False, True])
def test_a_rollout_that_was_put_back_puts_the_settings_back(folder: Path, overlay: bool) -> None:
    if overlay:
        (folder / "inventories/staging.yaml").write_text(HOSTS)
    before = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    with pytest.raises(RolloutError), edit_of(project(), {"instances": 3}).made():
        assert project().topology.settings.instances == 3
        raise RolloutError("it failed and was restored")
    assert {path.name: path.read_text() for path in folder.glob("*.yaml")} == before


@pytest.mark.parametrize("ending", [NeedsPersonError, StoppedHalfWay])
def test_where_hosts_have_the_new_size_the_settings_keep_it(folder: Path, ending: type[DeployError]) -> None:
    with pytest.raises(ending), edit_of(project(), {"instances": 3}).made():
        raise ending("half of it is there")
    assert "instances: 3" in (folder / "deploy.yaml").read_text()
