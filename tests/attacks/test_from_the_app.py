"""Somebody who runs code as the app, in its sandbox and outside, on a real host: no root, no push kept away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.labs import running
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(900)]

SETTINGS = {
    "health": {"within": "20s"},
    "runtime": {"workers": 1, "graceful_timeout": "5s"},
    "rolling": {"drain_timeout": "2s", "soak": "500ms"},
    "shared": ["media/", "data/uploads/"],
}
HOLD = (
    "import fcntl, os, sys, time\n"
    "for path in sys.argv[1:]:\n"
    "    try:\n"
    "        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_SH)\n"
    "        print('held', path, flush=True)\n"
    "    except PermissionError:\n"
    "        print('denied', path, flush=True)\n"
)
LOCKS = ["/srv/shop/.deploy/lock", "/var/lib/deploy/lock"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(kind="machines", hosts=2) as made:
        yield made


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The app as it serves after a first push."""
    shop = Project(tmp_path_factory.mktemp("attacked") / "shop", lab.name, "shop", SETTINGS)
    shop.deploy("setup")
    shop.deploy("push")
    return shop


def root(lab: Lab, script: str) -> str:
    return lab.exec("web1", ["sh", "-c", script]).stdout.strip()


def attack(lab: Lab, *argv: str, sandboxed: bool) -> str:
    """Run a program as the app's user: in the mount namespace of its unit, or outside of it. Returns what it prints."""
    user = ["runuser", "-u", "shop", "--", *argv]
    pid = root(lab, "systemctl show --value -p MainPID shop@8000")
    return lab.exec("web1", ["nsenter", "-t", pid, "-m", "--", *user] if sandboxed else user).stdout.strip()


@pytest.mark.parametrize("sandboxed", [True, False], ids=["in its sandbox", "outside of it"])
@pytest.mark.parametrize("name", ["media", "data", "data/uploads"])
def test_a_link_in_place_of_a_shared_folder_gives_the_app_nothing(
    lab: Lab, shop: Project, name: str, sandboxed: bool
) -> None:
    path = f"/srv/shop/shared/{name}"
    root(lab, "mkdir -p /etc/cron.d/uploads")
    before = root(lab, "stat -c '%u %g %a' /etc/cron.d /etc/cron.d/uploads; ls -A /etc/cron.d/uploads")
    swap = f"mv {path} {path}.kept && ln -s /etc/cron.d {path} && ls -ld {path}"
    assert "-> /etc/cron.d" in attack(lab, "sh", "-c", swap, sandboxed=sandboxed)
    try:
        shop.deploy("setup")
        shop.version(f"{name} {sandboxed}")
        shop.deploy("push")
    finally:
        root(lab, f"rm -f {path}; mv {path}.kept {path}")
    assert root(lab, "stat -c '%u %g %a' /etc/cron.d /etc/cron.d/uploads; ls -A /etc/cron.d/uploads") == before


@pytest.mark.parametrize("sandboxed", [True, False], ids=["in its sandbox", "outside of it"])
def test_the_locks_cannot_be_held(lab: Lab, shop: Project, sandboxed: bool, tmp_path: Path) -> None:
    printed = attack(lab, "python3", "-I", "-c", HOLD, *LOCKS, sandboxed=sandboxed)
    assert printed.splitlines() == [f"denied {path}" for path in LOCKS]
    with traffic(lab.address, tmp_path / "log") as users:
        shop.version(f"locks {sandboxed}")
        push = shop.deploy("push")
    assert push.last["outcome"] == "succeeded"
    users.demand(proven={push.release, push.last["previous"]}, at_least=20)


def test_modules_of_a_commit_do_not_run_as_root(lab: Lab, shop: Project) -> None:
    proof = "import os\nos.geteuid() == 0 and open('/root/PROOF', 'a').write(__name__)\n"
    shop.commit("modules", **{f"{name}__py": proof for name in ("compileall", "sitecustomize", "usercustomize")})
    shop.deploy("push")
    assert root(lab, "ls /root/PROOF 2>/dev/null || echo none") == "none"
