"""Checks run here for real: every "host" is a shell on this machine."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.verify import CommandResult, Runner


@pytest.fixture
def local() -> Runner:
    """A runner whose hosts are all this machine; a command sees the host's name as `$ASKED`."""

    def run(host: str, command: str) -> CommandResult:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env={"ASKED": host, "PATH": PATH})
        return CommandResult(done.returncode, done.stdout, done.stderr)

    return run


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write("checks/test_a.py", text)` → the file's folder."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path.parent

    return write
