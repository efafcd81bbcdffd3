"""The rendered Dockerfile, built and run without any registry: by buildah, from the lab's own Debian root file system.

The base is tagged with the name that the Dockerfile asks for, and nothing may be pulled. Needs root.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.labs import fresh_name
from support.project import Project

from deployer import process_tree
from deployer.agent.dependencies import pip_settings
from deployer.agent.system import procfs
from deployer.lab import LabSpec, down
from deployer.lab.machines import requirements
from deployer.lab.machines.mounts import unmount_below
from deployer.lab.machines.root import root_for
from deployer.lab.pip_sources import CA_BUNDLE, pip_sources
from deployer.lab.place import Place

pytestmark = [pytest.mark.machines, pytest.mark.more]

BASE = "docker.io/library/python:3.11-slim-bookworm"
LIMIT_S = 120.0
USER = 10001


def installed() -> str:
    """Empty, or why buildah cannot be had."""
    if shutil.which("buildah"):
        return ""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "buildah is not installed, and cannot be without root and apt-get"
    command = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "buildah"]
    for prepared in ([], ["apt-get", "-qq", "update"]):
        subprocess.run(prepared or ["true"], capture_output=True, check=False)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        if done.returncode == 0:
            return ""
    return f"buildah is not installed, and apt-get cannot bring it: {(done.stderr.strip().splitlines() or ['?'])[-1]}"


@dataclass(frozen=True)
class Buildah:
    """buildah with a store of its own, which needs neither a daemon nor namespaces."""

    store: Path

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def words(self, *words: str) -> list[str]:
        return ["buildah", "--root", f"{self.store}/root", "--runroot", f"{self.store}/run", *words]

    def __call__(self, *words: str, expect: int | None = 0) -> str:
        done = subprocess.run(
            self.words(*words), capture_output=True, text=True, check=False, env=self.environ, timeout=600
        )
        assert expect is None or done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout if done.returncode == 0 else done.stdout + "failed: " + done.stderr

    def build(self, tag: str, project: Project, *more: str, expect: int | None = 0) -> str:
        """Builds the project's rendered Dockerfile; what it said."""
        mounts = [word for folder in pip_sources().folders for word in ("--volume", f"{folder}:{folder}:ro")]
        words = ["--pull-never", "--format", "docker", *mounts, *more, "-t", tag]
        return self("bud", *words, "-f", f"{project.folder}/out/Dockerfile", str(project.folder), expect=expect)

    def config(self, tag: str) -> dict[str, Any]:
        """The image's configuration, as `docker inspect` has it."""
        return dict(json.loads(self("inspect", "--type", "image", tag))["Docker"]["config"])


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """With a base image: the lab's root file system, and where this machine has its packages from."""
    if os.geteuid() != 0:
        pytest.skip("a root file system of a lab needs root")
    why = installed()
    if why:
        pytest.skip(why)
    requirements.require(print)
    name = fresh_name()
    made = Buildah(tmp_path_factory.mktemp("buildah"))
    try:
        root = root_for("bookworm", LabSpec(name=name, kind="machines"), Place.of(name), print)
        made("from", "--name", "base", "scratch")
        made("copy", "-q", "base", str(root), "/")
        made("run", "base", "--", "ln", "-s", "/usr/bin/python3", "/usr/local/bin/python")
        # Whom this machine trusts, which may be more than Debian does.
        made("copy", "-q", "base", CA_BUNDLE, CA_BUNDLE)
        conf = made.store / "pip.conf"
        conf.write_text(pip_sources().pip_conf())
        made("copy", "-q", "base", str(conf), "/etc/pip.conf")
        uv = made.store / "uv.toml"
        uv.write_text(pip_sources().uv_toml())
        made("copy", "-q", "base", str(uv), "/etc/uv/uv.toml")
        made("commit", "-q", "--format", "docker", "base", BASE)
        made("rm", "base")
        yield made
    finally:
        down(name, print)
        made("rm", "--all", expect=None)
        made("rmi", "--all", "--force", expect=None)
        unmount_below(made.store)
        shutil.rmtree(made.store, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def drawn(folder: Path, example: str, settings: dict[str, Any]) -> tuple[Project, int]:
    """An example with its Dockerfile, and the port that it will serve at."""
    port = free_port()
    project = Project(
        folder / "project", "prod", example, {"port": port, "python": {"version": "3.11"}, **settings}, lean=False
    )
    (project.folder / "inventories").mkdir()
    (project.folder / "inventories" / "prod.yaml").write_text("web: {hosts: {web1.example.com: {}}}\n")
    project.deploy("render", "--out", "out", "--dockerfile")
    shutil.copy(project.folder / "out" / ".dockerignore", project.folder / ".dockerignore")
    return project, port


def asked(port: int, path: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_S) as answer:
        return answer.status, answer.read()


class Container:
    """The image's own command, running: what a container engine starts, with its environment, folder and user."""

    def __init__(self, buildah: Buildah, tag: str, port: int, env: dict[str, str]) -> None:
        self.buildah, self.port = buildah, port
        self.config = buildah.config(tag)
        self.name = buildah("from", "--pull-never", tag).strip()
        given = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
        self.log = buildah.store / f"{self.name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                buildah.words("run", *given, self.name, "--", *self.config["Cmd"]),
                stdout=log,
                stderr=log,
                env=buildah.environ,
            )

    def healthy(self) -> bool:
        """Whether the image's own HEALTHCHECK passes, run in the container as an engine would."""
        kind, *words = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        done = subprocess.run(
            self.buildah.words("run", self.name, "--", *words),
            capture_output=True,
            check=False,
            env=self.buildah.environ,
        )
        return done.returncode == 0

    def until_healthy(self) -> None:
        end = time.monotonic() + LIMIT_S
        while not self.healthy():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()[-3000:]

    def first(self) -> int:
        """The process that an engine has as number 1: below buildah's own, which is the app's user too in the end."""
        pids = [pid for pid in process_tree.descendants(self.process.pid) if "/.venv/bin/python" in procfs.command(pid)]
        pids = [pid for pid in pids if not procfs.command(pid).startswith("buildah")]
        known = {pid: procfs.process(pid) for pid in pids}
        (one,) = [pid for pid, process in known.items() if process and process.ppid not in known]
        return one

    def removed(self) -> None:
        process_tree.kill(process_tree.descendants(self.process.pid))
        self.process.wait(LIMIT_S)
        self.buildah("rm", self.name, expect=None)


UV = {"python": {"version": "3.11"}}
GUNICORN = {"runtime": {"server": "gunicorn+uvicorn", "workers": 2, "graceful_timeout": "9s"},
            "python": {"version": "3.11", "with": ["gunicorn", "uvicorn-worker"]}}  # fmt: skip
NOTES = {"runtime": {"worker_class": "gthread", "args": ["--threads", "16"], "workers": 2, "graceful_timeout": "9s"}}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("example", "settings", "server"),
    [
        ("shop", {"runtime": {"workers": 2, "graceful_timeout": "9s"}}, "uvicorn"),
        ("shop", GUNICORN, "gunicorn"),
        ("notes", NOTES, "gunicorn"),
    ],
    ids=["uvicorn", "gunicorn+uvicorn", "gunicorn"],
)
def test_an_image_serves_is_healthy_is_nobody_and_ends_gracefully(
    buildah: Buildah, tmp_path: Path, example: str, settings: dict[str, Any], server: str
) -> None:
    secrets = {"secrets": {"KEY": {"env": "KEY"}}, "env": {"GREETING": 'a "b" $HOME \\ c'}}
    project, port = drawn(tmp_path, example, {**settings, **secrets})
    (project.folder / ".env").write_text("KEY=from-a-file\n")
    (project.folder / ".venv").mkdir()
    tag = f"localhost/{example}-{server}"
    buildah.build(tag, project, "--build-arg", "RELEASE=20261124")
    container = Container(buildah, tag, port, {"KEY": "given at the start"})
    try:
        assert container.config["User"] == f"{USER}:{USER}" and container.config["StopSignal"] == "SIGTERM"
        assert container.config["Cmd"][1:3] == ["-m", server]
        assert not [each for each in container.config["Env"] if each.startswith("KEY=")]
        container.until_healthy()
        main = container.first()
        assert os.stat(f"/proc/{main}").st_uid == USER
        seen = procfs.environment(main)
        assert (seen["KEY"], seen["GREETING"]) == ("given at the start", 'a "b" $HOME \\ c')
        assert (seen["DEPLOY_RELEASE"], seen["DEPLOY_APP"]) == ("20261124", example)
        assert {listener.uid for listener in procfs.listeners([port])} == {USER}
        inside = Path(f"/proc/{main}/root")
        left = {path.name for path in (inside / "srv" / example).iterdir()}
        assert {".venv", "release.py"} <= left and not left & {".git", ".env", "inventories", "out", "Dockerfile"}
        # Begun for certain: what was accepted and not yet read at that very moment may be lost (docs/strategies.md).
        user = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        user.request("GET", "/stream")
        answer = user.getresponse()
        assert answer.readline()
        os.kill(main, signal.SIGTERM)
        assert answer.read().endswith(b"END\n")
        container.process.wait(LIMIT_S)
        assert container.process.returncode in (0, 128 + signal.SIGTERM), container.log.read_text()[-2000:]
        with pytest.raises(OSError):
            asked(port, "/healthz")
        assert not container.healthy()
    finally:
        container.removed()


@pytest.mark.timeout(900)
def test_a_locked_project_is_built_by_uv_with_nothing_but_its_lock(buildah: Buildah, tmp_path: Path) -> None:
    project, port = drawn(tmp_path, "shop", UV)
    (project.folder / "requirements.txt").unlink()
    (project.folder / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["fastapi", "uvicorn", "websockets"]\n[dependency-groups]\ndev = ["pytest"]\n'
    )
    done = subprocess.run(
        ["uv", "lock"], cwd=project.folder, capture_output=True, text=True, check=False, env=with_uv()
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(project.folder / "out")
    project.deploy("render", "--out", "out", "--dockerfile")
    buildah.build("localhost/locked", project)
    container = Container(buildah, "localhost/locked", port, {})
    try:
        container.until_healthy()
        assert asked(port, "/version")[0] == 200
        packages = Path(f"/proc/{container.first()}/root/srv/shop/.venv/lib/python3.11/site-packages")
        assert (packages / "fastapi").is_dir() and not (packages / "pytest").exists()
    finally:
        container.removed()


def with_uv() -> dict[str, str]:
    """An environment in which uv of this project is found and asks where pip asks."""
    made = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return {**made, **pip_settings.for_uv(made), "UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1"}


def test_a_build_without_the_ignore_file_fails_rather_than_bake_secrets_in(buildah: Buildah, tmp_path: Path) -> None:
    project, _ = drawn(tmp_path, "shop", {})
    for ignored in (*project.folder.glob("*.dockerignore"), *project.folder.glob("out/*dockerignore")):
        ignored.unlink()
    (project.folder / ".dockerignore").unlink(missing_ok=True)
    (project.folder / ".env").write_text("KEY=secret\n")
    said = buildah.build("localhost/careless", project, expect=None)
    assert "is in the image: build with the .dockerignore" in said
    assert "careless" not in buildah("images")
