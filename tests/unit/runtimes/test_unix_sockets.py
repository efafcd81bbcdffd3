"""Every server at a UNIX socket, through the run script: where it listens, what was left there, whom it believes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer import runtimes
from deployer.runtimes import Serving
from deployer.runtimes.run import render_run
from deployer.runtimes.standalone import standalone

from .serving import ASGI, WSGI, make_release, serving


def at_sockets(folder: Path, **settings: Any) -> Serving:
    return replace(serving(**settings), address=str(folder), trusted=("*",))


def install(release: Path, made: Serving, server: str) -> None:
    for name, text in runtimes.get(server).files(made).items():
        (release / name).write_text(text)
    text = render_run(
        made,
        runtimes.get(server),
        base_port=8000,
        spare_port=8500,
        env=made.env,
        app="shop",
        env_name="prod",
        release="20240101T000000-abc",
        secrets_file="/nonexistent/secrets.env",
        slots="/nonexistent/slots",
    )
    (release / "run").write_text(text)
    (release / "run").chmod(0o755)


def run(release: Path, *words: str, **more: Any) -> subprocess.Popen[bytes]:
    env = {"PATH": os.environ["PATH"], "PORT": "8001"}
    return subprocess.Popen(["./run", *words], cwd=release, env=env, start_new_session=True, **more)


def answer(path: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the server ended by itself"
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(path))
            connection.request("GET", "/", headers={"X-Forwarded-For": "198.51.100.7"})
            return dict(json.load(connection.getresponse()))
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("server", "code", "interface", "workers"),
    [
        ("uvicorn", ASGI, "asgi", 1),
        ("uvicorn", ASGI, "asgi", 2),
        ("gunicorn", WSGI, "wsgi", 2),
        ("gunicorn+uvicorn", ASGI, "asgi", 1),
        ("gunicorn-asgi", ASGI, "asgi", 1),
    ],
)
def test_every_server_takes_the_place_of_one_that_was_killed(
    tmp_path: Path, server: str, code: str, interface: Any, workers: int
) -> None:
    release, sockets = make_release(tmp_path / "rel ease", code), tmp_path / "sock ets"
    sockets.mkdir()
    install(release, at_sockets(sockets, interface=interface, workers=workers, graceful_timeout=3), server)
    path = sockets / "8001.sock"
    for _ in range(2):  # the second finds the file of the first
        process = run(release)
        try:
            seen = answer(path, process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        assert (seen["env"]["DEPLOY_SOCKET"], seen["env"]["DEPLOY_INSTANCE"]) == (str(path), "1")
        if interface == "asgi" and server != "gunicorn-asgi":  # which never says more than who connected
            assert seen["client"][0] == "198.51.100.7", "it believes who comes by the socket"
        assert path.stat().st_mode & 0o006 == 0o006, "a balancer of another user may connect"
    assert list(sockets.iterdir()) == [path]


def test_a_question_to_the_run_script_leaves_the_socket_of_the_one_that_serves(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release", WSGI)
    install(release, at_sockets(tmp_path, interface="wsgi"), "gunicorn")
    (tmp_path / "8001.sock").write_text("of the one that serves")
    assert run(release, "--check-config").wait(60) == 0
    assert (tmp_path / "8001.sock").exists()


def test_a_socket_that_systemd_gives_stays_systemds(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release", WSGI)
    install(release, at_sockets(tmp_path, server="command", command="sh -c 'ls $0' ${DEPLOY_SOCKET}"), "command")
    (tmp_path / "8001.sock").write_text("systemd's")
    given = 'LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec "$0"'
    env = {"PATH": os.environ["PATH"], "PORT": "8001"}
    assert subprocess.run(["sh", "-c", given, "./run"], cwd=release, env=env, timeout=60).returncode == 0
    assert subprocess.run(["./run"], cwd=release, env=env, timeout=60).returncode != 0


def test_a_command_of_the_users_own_is_told_the_path_and_has_to_use_it(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release", WSGI)
    made = at_sockets(tmp_path, server="command", command="echo unix:${DEPLOY_SOCKET}")
    assert runtimes.get("command").refuse(made) is None
    install(release, made, "command")
    process = run(release, stdout=subprocess.PIPE)
    assert process.communicate(timeout=60)[0].decode() == f"unix:{tmp_path}/8001.sock\n"
    at_port = at_sockets(tmp_path, server="command", command="serve --port $PORT")
    assert "$DEPLOY_SOCKET" in str(runtimes.get("command").refuse(at_port))


@pytest.mark.parametrize(("server", "interface"), [("uvicorn", "asgi"), ("gunicorn", "wsgi")])
def test_a_file_to_run_without_deploy_names_a_port(tmp_path: Path, server: str, interface: Any) -> None:
    text = "".join(standalone(runtimes.get(server), at_sockets(tmp_path, interface=interface), 8000).values())
    assert "127.0.0.1" in text and "8000" in text and str(tmp_path) not in text and '"*"' not in text
