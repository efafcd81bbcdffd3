"""A person's command in the release on a real host: as the app's user, with a terminal and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hit import until
from support.project import Project
from support.terminal import Terminal

from deployer.lab import LabSpec, up

pytestmark = [pytest.mark.machines, pytest.mark.more]


def test_a_command_in_the_release_runs_as_the_apps_user(lab_name: str, tmp_path: Path) -> None:
    up(LabSpec(name=lab_name, kind="machines", hosts=1, balancer="none"), print)
    project = Project(tmp_path / "shop", lab_name, "shop", {"app": "shop", "runtime": {"workers": 1}})
    project.deploy("setup")
    project.deploy("push")
    (told,) = project.deploy("run", "id -un; test -r /srv/shop/.deploy/secrets.env || echo no").of("output")[:1]
    assert told["line"] == "shop"
    assert project.deploy("exec", "id -un").of("output")[0]["line"] == "root"
    assert any("startup complete" in event["line"] for event in project.deploy("logs", "--since", "1h").of("output"))
    until("a second without a line", lambda: not project.deploy("logs", "--since", "1s").of("output"))
    with Terminal(
        project.command("run", "id -un; python -c 'import main'; stty size; exit 3")[:-2], project.folder
    ) as seen:
        seen.until("33 111")
        assert "shop\r\n" in seen.screen and seen.end() == 3
