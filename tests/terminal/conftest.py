"""A lab of processes and an app on it, for commands that are typed on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import fresh_name
from support.project import REPOSITORY, Project

from deployer.lab import Lab, LabSpec, down, up

SETTINGS = {
    "app": "shop",
    "health": {"within": "20s"},
    "runtime": {"workers": 1},
    "rolling": {"drain_timeout": "1s", "soak": "100ms", "waves": [1, "100%"]},
}

OLDEST = Path(sys.prefix) / "oldest"
"""The oldest rich and typer that pyproject.toml allows, installed beside the newest."""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two web hosts and an HAProxy, each an sshd and a supervisord."""
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=2), print)
    finally:
        down(name, print)


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example app in a git work tree; its hosts are set up and it was pushed once."""
    project = Project(tmp_path_factory.mktemp("terminal") / "shop", lab.name, "shop", SETTINGS)
    project.deploy("setup")
    project.deploy("push")
    return project


@pytest.fixture(params=["newest", "oldest"])
def libraries(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment with which `deploy` draws by the newest or the oldest versions that it allows."""
    if request.param == "newest":
        return {}
    assert (OLDEST / "rich").is_dir(), f"make setup installs {OLDEST.relative_to(Path(sys.prefix).parent)}"
    return {"PYTHONPATH": f"{OLDEST}:{REPOSITORY}"}
