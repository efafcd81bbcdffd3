"""The agent is killed at every moment of making a release; the next attempt ends well and nothing half-made counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import release_site
from release_site import FILES, NONE, Host, write

from deployer.agent.system import procfs

OLD, NEW = "20261101T100000Z-aaaaaaaa", "20261102T100000Z-bbbbbbbb"
ARGS: dict[str, Any] = {
    "prepare": {"command": "echo built > made"},
    "check": {"argv": [".venv/bin/python", "-c", "import app"]},
}
MOMENTS = ["assemble", "venv", "prepare", "compile", "check", "tree.copy", "tree.seal", "tree.flush", "files.write"]


def killed(host: Host, moment: str, source: Path, args: dict[str, object]) -> None:
    """Makes a release in a process of its own, which ends by SIGKILL at that moment."""
    spec = {"folder": str(host.folder), "moment": moment, "release": NEW, "source": str(source), "args": args}
    done = subprocess.run([sys.executable, release_site.__file__, json.dumps(spec)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_moment_is_healed_by_the_next_attempt(tmp_path: Path, moment: str) -> None:
    host = Host(tmp_path).set_up()
    host.push(OLD, venv={**NONE, "key": "other"})
    source = write(tmp_path / "source", {**FILES, "new.py": "new = 1"})
    killed(host, moment, source, {**ARGS, "venv": NONE})

    assert not os.path.exists(host.site.marker(NEW))
    answer = host.ship(NEW, source, **ARGS)
    assert answer["built"] and answer["reused"] == 3
    assert host.read(NEW, "made") == "built\n" and host.read(NEW, "new.py") == "new = 1"
    assert host.read(OLD, "app.py") == FILES["app.py"]
    assert sorted(os.listdir(host.site.releases)) == [OLD, NEW]
    assert os.listdir(host.site.state + "/incoming") == []


def test_a_prepare_hook_that_outlived_its_agent_cannot_write_into_the_next_attempt(tmp_path: Path) -> None:
    host = Host(tmp_path).set_up()
    source = write(tmp_path / "source", FILES)
    command = 'at=$PWD; exec 2>/dev/null; echo $$ > pid; while :; do echo ghost > "$at/ghost"; sleep 0.01; done'
    slow = {"prepare": {"command": command}}
    spec = {"folder": str(tmp_path), "moment": "", "release": NEW, "source": str(source), "args": slow}
    agent = subprocess.Popen([sys.executable, release_site.__file__, json.dumps(spec)])
    ghost = Path(host.site.release(NEW), "ghost")
    deadline = time.monotonic() + 20
    while not ghost.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    orphan = int(host.read(NEW, "pid"))
    agent.kill()
    agent.wait()
    assert procfs.process(orphan)

    host.ship(NEW, source)
    found = procfs.process(orphan)
    assert found is None or found.dead
    assert not ghost.exists()
