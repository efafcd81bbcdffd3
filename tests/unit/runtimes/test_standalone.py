"""The files of `render --standalone`: run beside the real command line, they make the same of the same server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from uvicorn.main import main as uvicorn_command

from deployer import runtimes
from deployer.errors import SettingsError
from deployer.runtimes import Serving
from deployer.runtimes.standalone import standalone
from deployer.runtimes.uvicorn_options import EITHER, FLAGS, TAKES

from .serving import ASGI, WSGI, make_release, serving
from .test_run_script import answer, free_port, install, script, started

GOLDEN = Path(__file__).parent / "golden"

TELLS = """
import gc, inspect, json
import uvicorn

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    made = next(each for each in gc.get_objects() if isinstance(each, uvicorn.Config))
    found = {name: value for name, value in vars(made).items() if name in inspect.signature(uvicorn.Config).parameters}
    body = json.dumps(found, default=repr).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
TUNED: dict[str, Any] = {
    "workers": 2,
    "max_requests": 1000,
    "keepalive": 7,
    "graceful_timeout": 9,
    "args": (
        "--limit-concurrency", "100", "--backlog=512", "--log-level", "warning", "--loop", "asyncio", "--http", "h11",
        "--ws", "none", "--lifespan", "on", "--no-server-header", "--header", "X-From:shop", "--root-path", "/shop",
        "--ws-ping-interval", "7.5",
    ),
    "env": {"UVICORN_WS_MAX_SIZE": "1000", "UVICORN_DATE_HEADER": "false"},
}  # fmt: skip


@pytest.mark.parametrize("how", [{}, TUNED], ids=["as it comes", "tuned"])
def test_uvicorn_makes_the_same_of_the_file_as_of_its_command_line(tmp_path: Path, how: dict[str, Any]) -> None:
    """Both run for real, and the app tells what uvicorn.Config it is served by."""
    release = make_release(tmp_path / "release", TELLS)
    made = serving(**how)
    port = free_port()
    install(release, script(made, "uvicorn", port))
    with started(release, port) as process:
        by_command = answer(port, process)
    for name, text in standalone(runtimes.get("uvicorn"), made, 1).items():
        (release / name).write_text(text)
    (release / "run").write_text("#!/bin/sh\nexec .venv/bin/python uvicorn_config.py\n")
    (tmp_path / "slots" / str(port)).unlink()
    with started(release, port) as process:
        by_file = answer(port, process)
    assert by_file == by_command
    assert by_file["workers"] == how.get("workers", 1)
    assert by_file["limit_max_requests_jitter"] == how.get("max_requests", 0) // 2


def test_every_option_of_this_uvicorn_is_known() -> None:
    theirs = {option.removeprefix("--") for each in uvicorn_command.params for option in each.opts} - {"app"}
    reloading = {name for name in theirs if name.startswith("reload")}
    assert theirs - reloading - {"version", "header"} <= {*TAKES, *FLAGS, *EITHER}


def test_an_option_that_cannot_be_written_is_named() -> None:
    with pytest.raises(SettingsError, match="--of-tomorrow"):
        standalone(runtimes.get("uvicorn"), serving(args=("--of-tomorrow", "1")), 8000)
    with pytest.raises(SettingsError, match="which is not a number"):
        standalone(runtimes.get("uvicorn"), serving(args=("--backlog", "many")), 8000)


WAYS: dict[str, tuple[str, Any]] = {
    "gunicorn": ("gunicorn", {"path": "shop.main:app", "interface": "wsgi", "workers": 5}),
    "gunicorn-gthread": (
        "gunicorn",
        {"interface": "wsgi", "worker_class": "gthread", "args": ("--threads", "8"), "max_requests": 1000},
    ),
    "gunicorn-gevent": ("gunicorn", {"interface": "wsgi", "worker_class": "gevent"}),
    "gunicorn-tornado": ("gunicorn", {"interface": "wsgi", "worker_class": "tornado"}),
    "gunicorn+uvicorn": ("gunicorn+uvicorn", {"workers": 3}),
    "gunicorn-asgi": ("gunicorn-asgi", {"workers": 3, "path": "shop.main:create", "factory": True}),
}


@pytest.mark.parametrize("way", WAYS)
def test_gunicorn_accepts_the_files_and_they_say_what_the_release_says(tmp_path: Path, way: str) -> None:
    server, how = WAYS[way]
    made = replace(serving(**how), release="20240101T000000Z-abcdef12")
    release = make_release(tmp_path, WSGI if how.get("interface") == "wsgi" else ASGI)
    (alone,) = standalone(runtimes.get(server), made, 8000).values()
    ((name, own),) = runtimes.get(server).files(made).items()
    golden(alone, f"{way}.standalone.conf")
    golden(own, f"{way}.conf")
    (release / "gunicorn.alone.py").write_text(alone)
    (release / name).write_text(own)
    args = [*made.settings.args]
    assert gunicorn(release, "--config", "gunicorn.alone.py", *args, "--check-config") == ""
    target = "shop.main:create()" if how.get("factory") else "shop.main:app"
    told = settings_of(gunicorn(release, "--config", "gunicorn.alone.py", *args, "--print-config"))
    words = ["--config", name, "--bind", "127.0.0.1:8000", *args, "--print-config", target]
    ours = settings_of(gunicorn(release, *words))
    place = {"config", "chdir", "wsgi_app", "default_proc_name"}
    assert {key: value for key, value in told.items() if key not in place} == {
        key: value for key, value in ours.items() if key not in place
    }
    assert told["wsgi_app"] == target


def test_a_mistake_in_such_a_file_is_found(tmp_path: Path) -> None:
    release = make_release(tmp_path, WSGI)
    (alone,) = standalone(runtimes.get("gunicorn"), serving(interface="wsgi"), 8000).values()
    (release / "gunicorn.alone.py").write_text(alone.replace("workers = 1", "workers = 'many'"))
    with pytest.raises(subprocess.CalledProcessError):
        gunicorn(release, "--config", "gunicorn.alone.py", "--check-config")


def gunicorn(release: Path, *words: str) -> str:
    """What the real gunicorn prints; CalledProcessError when it does not accept its words or files."""
    command = [sys.executable, "-m", "gunicorn", *words]
    return subprocess.run(command, cwd=release, capture_output=True, text=True, check=True, timeout=60).stdout


def settings_of(shown: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn", "gunicorn+uvicorn", "gunicorn-asgi", "command"])
def test_the_run_scripts_are_as_they_were_and_sh_reads_them(tmp_path: Path, server: str) -> None:
    how: dict[str, Any] = {"interface": "wsgi"} if server == "gunicorn" else {}
    if server == "command":
        how["command"] = "hypercorn shop.main:app -b 127.0.0.1:$PORT"
    made: Serving = serving(workers=3, env={"LOG_LEVEL": "it's"}, **how)
    text = script(made, server, 8000)
    golden(text, f"{server}.run")
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def golden(text: str, name: str) -> None:
    if os.environ.get("DEPLOY_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_render_writes_them_on_demand(tmp_path: Path) -> None:
    repository = Path(__file__).resolve().parents[3]
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\nuvicorn\n")
    (tmp_path / "deploy.yaml").write_text("app: shop\nruntime: {args: [--backlog, '64']}\n")
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/prod.yaml").write_text("web: {hosts: {web1: {}}}\n")
    command = [sys.executable, "-m", "deployer", "render", "prod", "--out", "out", "--standalone", "--output", "json"]
    env = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, json.loads(done.stdout.splitlines()[-1])
    assert "backlog=64," in (tmp_path / "out/web1/standalone/uvicorn_config.py").read_text()
