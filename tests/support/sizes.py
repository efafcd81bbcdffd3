"""A project as `deploy init --scale` begins it, pushed, reloaded and rolled back under its users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deployer.settings.init.size_presets import Size
from support.project import Done, Project


def begun(folder: Path, env: str, size: Size) -> Project:
    """The example shop without any settings, and then with those that `init` writes. Not a key is changed by hand."""
    project = Project(folder / "shop", env)
    (project.folder / "deploy.yaml").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "deployer", "init", "--scale", size, "--output", "plain"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{size}: " in done.stdout and "today: guides " in done.stdout
    project.commit("as init wrote it")
    return project


def there_and_back(project: Project) -> tuple[Done, Done]:
    """A second version, a reload of it, and the first one again; what the push and the rollback came to."""
    first = project.deploy("status").release
    project.version(2)
    second = project.deploy("push")
    assert project.deploy("reload", "--rolling").release == second.release
    back = project.deploy("rollback")
    assert back.release == first
    return second, back
