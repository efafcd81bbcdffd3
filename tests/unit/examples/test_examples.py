"""The example apps, each under its real servers, with the probe's traffic on them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from ruamel.yaml import YAML

from deployer import probe
from deployer.inventory import load as inventory
from deployer.settings.inference.infer import infer
from deployer.settings.models import Settings

ROOT = Path(__file__).parents[3]

SERVERS = {
    "shop under uvicorn": ("shop", "full", "uvicorn main:app --port PORT"),
    "shop under uvicorn with workers": ("shop", "full", "uvicorn main:app --port PORT --workers 2"),
    "shop under gunicorn with uvicorn's worker": (
        "shop",
        "full",
        "gunicorn main:app -b 127.0.0.1:PORT -k uvicorn_worker.UvicornWorker --keep-alive 5 --no-control-socket",
    ),
    "notes under gunicorn with threads": (
        "notes",
        "http",
        "gunicorn app:app -b 127.0.0.1:PORT -k gthread --threads 16 --keep-alive 5 --no-control-socket",
    ),
}

Serve = Callable[..., "Served"]


class Served:
    """A running example."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return response.status, response.read()
        except HTTPError as error:
            return error.code, error.read()

    def answers(self) -> bool:
        try:
            self.get("/healthz")
        except OSError:
            return False
        return True

    def until_it_answers(self) -> Served:
        until(lambda: self.answers() or self.process.poll() is not None)
        assert self.process.poll() is None, "it died"
        return self


def until(condition: Callable[[], Any], within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def release(tmp_path: Path, name: str, example: str, broken: str = "") -> Path:
    """A copy of an example as a host would have it: `releases/<name>`."""
    folder = tmp_path / "releases" / name
    shutil.copytree(ROOT / "examples" / example, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if broken:
        (folder / "BREAK").write_text(broken + "\n")
    return folder


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(folder, "uvicorn main:app --port PORT")` starts an instance of the release r1 on a free port."""
    started: list[Served] = []

    def serve(folder: Path, command: str) -> Served:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {**os.environ, "DEPLOY_RELEASE": "r1", "DEPLOY_INSTANCE": "0", "PORT": str(port)}
        words = [sys.executable, "-m", *command.replace("PORT", str(port)).split()]
        process = subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        started.append(Served(process, port))
        return started[-1]

    yield serve
    for served in started:
        served.process.terminate()
    for served in started:
        served.process.wait(timeout=40)


def test_the_probe_finds_nothing_wrong_under_any_server(serve: Serve, tmp_path: Path) -> None:
    proven = tmp_path / "proven"
    proven.write_text("r1\n")
    folders = {example: release(tmp_path / example, "r1", example) for example in ("shop", "notes")}
    served = {name: serve(folders[example], command) for name, (example, _, command) in SERVERS.items()}
    with contextlib.ExitStack() as probers:
        probing = {
            name: probers.enter_context(
                probe.start(served[name].until_it_answers().url, rate=10, mix=mix, releases_file=proven)
            )
            for name, (_, mix, _) in SERVERS.items()
        }
        for prober in probing.values():
            until(lambda prober=prober: {"slow", "stream"} <= set(prober.snapshot().kinds))  # type: ignore[misc]
        receipts = {name: prober.stop() for name, prober in probing.items()}
    for name, receipt in receipts.items():
        assert receipt.failed == 0, (name, receipt.failures)
        assert (receipt.stale, receipt.told) == (0, 0), name
        assert set(receipt.releases) == {"r1"}, name
        assert ("websocket" in receipt.kinds) == (SERVERS[name][1] == "full"), name


@pytest.mark.parametrize("name", ["shop under uvicorn", "notes under gunicorn with threads"])
def test_it_says_who_answers(serve: Serve, name: str, tmp_path: Path) -> None:
    example, _, command = SERVERS[name]
    served = serve(release(tmp_path, "r1", example), command).until_it_answers()
    status, body = served.get("/version")
    assert status == 200
    assert json.loads(body).items() >= {"release": "r1", "instance": "0"}.items()
    assert json.loads(served.get("/late")[1]) == {"release": "r1", "late_release": "r1"}


def test_a_websocket_is_told_when_the_server_goes(serve: Serve, tmp_path: Path) -> None:
    served = serve(release(tmp_path, "r1", "shop"), "uvicorn main:app --port PORT").until_it_answers()
    with probe.start(served.url, rate=5, mix="full") as prober:
        until(lambda: prober.snapshot().kinds.get("websocket", {}).get("requests", 0) >= 2)
        served.process.terminate()
        until(lambda: prober.snapshot().told)
        until(lambda: "refused" in prober.snapshot().causes)  # nobody listens any more, and the probe says so
        assert prober.stop().told == 1


def test_code_that_changes_under_a_running_process_is_caught(serve: Serve, tmp_path: Path) -> None:
    """The process was started through a link; the link moves to the next release; what is imported late is of that."""
    release(tmp_path, "r1", "shop")
    release(tmp_path, "r2", "shop")
    (tmp_path / "current").symlink_to("releases/r1")
    served = serve(tmp_path, f"uvicorn main:app --port PORT --app-dir {tmp_path}/current").until_it_answers()
    with probe.start(served.url, rate=20, mix="http") as prober:
        until(lambda: prober.snapshot().kinds.get("late", {}).get("requests", 0) >= 1)
        assert prober.snapshot().failed == 0
        (tmp_path / "next").symlink_to("releases/r2")
        (tmp_path / "next").rename(tmp_path / "current")
        until(lambda: prober.snapshot().failed)
        receipt = prober.stop()
    assert set(receipt.causes) == {"mixed"}
    assert "the header says r1, a module imported late says r2" in receipt.failures[0].what


UVICORN = SERVERS["shop under uvicorn"][2]
GUNICORN = SERVERS["notes under gunicorn with threads"][2]
BOTH = pytest.mark.parametrize(("example", "command"), [("shop", UVICORN), ("notes", GUNICORN)])


def imports(folder: Path) -> bool:
    """Whether the app can be imported by whoever only looks at it."""
    module = "main" if (folder / "main.py").exists() else "app"
    return subprocess.run([sys.executable, "-c", f"import {module}"], cwd=folder, capture_output=True).returncode == 0


@BOTH
@pytest.mark.parametrize(("broken", "importable"), [("import", False), ("boot", True)])
def test_broken_before_it_serves(
    serve: Serve, tmp_path: Path, example: str, command: str, broken: str, importable: bool
) -> None:
    folder = release(tmp_path, "r1", example, broken)
    assert imports(folder) == importable
    served = serve(folder, command)
    until(lambda: served.process.poll() is not None)
    assert served.process.returncode not in (0, None)
    assert not served.answers()


@BOTH
def test_broken_health(serve: Serve, tmp_path: Path, example: str, command: str) -> None:
    served = serve(release(tmp_path, "r1", example, "health"), command).until_it_answers()
    assert served.get("/healthz")[0] == 500
    assert served.get("/version")[0] == 200


@BOTH
def test_dies_after_it_has_served(serve: Serve, tmp_path: Path, example: str, command: str) -> None:
    served = serve(release(tmp_path, "r1", example, "dies"), command).until_it_answers()
    first = json.loads(served.get("/version")[1])["pid"]
    until(lambda: not Path(f"/proc/{first}").exists() or served.process.poll() is not None)


@pytest.mark.parametrize("example", ["shop", "notes"])
def test_takes_twenty_seconds_to_start(tmp_path: Path, example: str) -> None:
    folder = release(tmp_path, "r1", example, "slow")
    code = "import time; time.sleep = print; import breakage; breakage.at_boot()"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "20\n"


@pytest.mark.parametrize(
    ("example", "server", "app"), [("shop", "uvicorn", "main:app"), ("notes", "gunicorn", "app:app")]
)
def test_all_that_its_settings_leave_out_is_found_in_its_code(example: str, server: str, app: str) -> None:
    folder = ROOT / "examples" / example
    settings = Settings.model_validate(YAML(typ="safe").load((folder / "deploy.yaml").read_text()))
    inferred = infer(folder, settings)
    assert settings.app == example
    assert inferred.target is not None
    assert (inferred.target.path, inferred.server, inferred.health_path) == (app, server, "/healthz")
    assert (inferred.missing, inferred.warnings) == ((), ())


def test_the_sample_inventories_are_found_from_the_examples() -> None:
    prod = inventory.load("prod", ROOT / "examples/shop")
    assert [host.name for host in prod.hosts] == [f"web{number}.example.com" for number in (1, 2, 3)] + [
        "lb1.example.com"
    ]
    (staging,) = inventory.load("staging", ROOT / "examples/notes").hosts
    assert {"web", "balancers"} <= staging.groups


def test_what_both_examples_share_is_the_same() -> None:
    for name in ("breakage.py", "late.py", "release.py"):
        assert (ROOT / "examples/shop" / name).read_bytes() == (ROOT / "examples/notes" / name).read_bytes()
