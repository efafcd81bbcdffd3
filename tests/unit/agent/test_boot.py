"""The agent as a program file: for what must outlive the session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deployer.agent.channel.bootstrap import archive


def test_the_archive_runs_a_module_without_anything_of_ours_installed(tmp_path: Path) -> None:
    argv = archive(str(tmp_path / "state" / "agent.pyz"))
    assert os.stat(argv[-1]).st_mode & 0o777 == 0o700
    done = subprocess.run([*argv, "nothing_here"], capture_output=True, text=True, cwd="/", env={}, timeout=60)
    assert "deployer.agent.nothing_here" in done.stderr
    assert subprocess.run([*argv, "../x"], capture_output=True, cwd="/", env={}, timeout=60).returncode == 2


def test_an_archive_can_write_itself_again_and_an_unchanged_one_is_left_alone(tmp_path: Path) -> None:
    first, second = str(tmp_path / "one.pyz"), str(tmp_path / "two.pyz")
    archive(first)
    before = os.stat(first)
    archive(first)
    assert os.stat(first).st_ino == before.st_ino
    load = "from deployer.agent.channel.bootstrap import archive"
    script = f"import sys; sys.path.insert(0, {first!r}); {load}; archive({second!r})"
    subprocess.run([sys.executable, "-IS", "-c", script], check=True, timeout=60)
    assert Path(first).read_bytes() == Path(second).read_bytes()


def test_a_changed_one_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.pyz"
    path.write_bytes(b"an older one")
    archive(str(path))
    assert path.read_bytes()[:2] == b"PK"
    assert os.listdir(tmp_path) == ["agent.pyz"]
