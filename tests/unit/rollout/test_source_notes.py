"""What is said of a work tree that is not as the commit: what is not shipped, and what is used all the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deployer.artifact.source import resolve
from deployer.rollout.delivery.source_notes import source_notes
from deployer.rollout.run.project import Project, load

SETTINGS = "app: shop\nruntime: {server: command, command: serve $PORT}\nchecks: [checks/]\n"
INVENTORY = "all: {hosts: {web1: {ansible_host: 192.0.2.1}}}\n"


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(folder), *words], check=True
    )


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    git(tmp_path, "init", "-q")
    write(tmp_path, {"deploy.yaml": SETTINGS, "inventories/prod.yaml": INVENTORY, "app.py": "", "tests/t.py": ""})
    write(tmp_path, {".gitattributes": "tests export-ignore\n"})
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "x")
    return load("prod", start=tmp_path)


def notes(project: Project) -> list[str]:
    with resolve(project.topology.settings.source, project.base) as tree:
        return list(source_notes(project, tree))


def test_files_that_are_used_are_told_from_files_that_are_not_shipped(project: Project) -> None:
    left_out = "export-ignore in .gitattributes keeps back: tests/t.py"
    assert notes(project) == [left_out]
    write(project.base, {"inventories/prod.yaml": INVENTORY + "# more\n", "checks/test_a.py": "", "app.py": "v2"})
    write(project.base, {".venv/bin/python": "", "node_modules/a/b.js": "", "pkg/__pycache__/a.pyc": ""})
    assert notes(project) == [
        "not committed, so not part of this: app.py, node_modules/, pkg/",
        "not committed, but used as it is here: checks/, inventories/prod.yaml",
        left_out,
    ]


def test_settings_that_differ_are_said_once(project: Project) -> None:
    write(project.base, {"deploy.yaml": SETTINGS + "keep: 3\n"})
    assert notes(project)[0] == "the settings are those of deploy.yaml here; HEAD has others"
    assert len(notes(project)) == 2


def test_a_long_list_is_counted(project: Project) -> None:
    write(project.base, {f"new{number}.py": "" for number in range(9)})
    assert notes(project)[0].endswith("new4.py and 4 more")
