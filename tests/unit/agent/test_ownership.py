"""Files in `shared/` that another user owns are counted, and no folder is taken from a user that runs the release."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from release_site import Host

from deployer.agent.model.resources import Directory, to_wire
from deployer.agent.site import shared_owners

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user needs root")
STRANGER = 54321


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path, user="nobody").set_up()
    for path in ("media/up", ".cache", "releases/r1"):
        os.makedirs(host.site.shared + "/" + path if path != "releases/r1" else host.site.releases + "/r1")
    for path in ("media/b", "media/up/c", ".cache/d"):
        Path(host.site.shared, path).touch()
    return host


def give(path: str, uid: int) -> None:
    for folder, _, names in os.walk(path):
        for name in ("", *names):
            os.chown(folder + "/" + name, uid, -1, follow_symlinks=False)


def test_what_another_user_owns_is_counted_at_every_depth(host: Host) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    assert shared_owners.foreign_paths(host.site) is None, "what is root's was put there on purpose"
    give(host.site.shared, nobody)
    assert shared_owners.foreign_paths(host.site) is None
    give(host.site.shared + "/media/up", STRANGER)
    found = shared_owners.foreign_paths(host.site)
    assert found == {"count": 2, "complete": True, "users": [str(STRANGER)], "example": host.site.shared + "/media/up"}
    give(host.site.shared, STRANGER)
    found = shared_owners.foreign_paths(host.site)
    assert found is not None and found["count"] == 7 and found["example"] == host.site.shared


def test_a_link_to_a_strangers_file_is_not_followed(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    os.chown(outside, STRANGER, -1)
    os.symlink(outside, host.site.shared + "/media/link")
    assert shared_owners.foreign_paths(host.site) is None


@pytest.fixture
def running(host: Host) -> Iterator[subprocess.Popen[bytes]]:
    """A process of a release that runs as the user before."""
    process = subprocess.Popen(["/bin/sleep", "300"], cwd=host.site.releases + "/r1", user=STRANGER)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_setup_takes_no_folder_from_a_release_that_runs(host: Host, running: subprocess.Popen[bytes]) -> None:
    os.chown(host.site.shared, STRANGER, -1)
    folder = to_wire(Directory(host.site.shared, owner="nobody"))
    args: dict[str, Any] = {"resources": [folder], "handlers": {}, "dry_run": False, "replace": False}
    assert host.call("resource.apply", **{**args, "dry_run": True})["changed"] == []
    running.kill()
    running.wait()
    assert [step["action"] for step in host.call("resource.apply", **{**args, "dry_run": True})["changed"]] == [
        "permissions"
    ]
