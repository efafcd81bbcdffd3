"""`deploy dev`: the app here, by the real command line and the real servers, in processes of their own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.labs import processes_with
from support.terminal import Terminal

from deployer.dev import interpreter
from deployer.errors import SettingsError

FASTAPI = """
import os
from fastapi import FastAPI
app = FastAPI()

@app.get("/")
def told() -> dict:
    return {"said": "one", "env": dict(os.environ), "cwd": os.getcwd()}
"""
FLASK = """
import os
from flask import Flask
app = Flask(__name__)

@app.get("/")
def told():
    return {"said": "one", "env": dict(os.environ), "cwd": os.getcwd()}
"""
COMMAND = """
import http.server, subprocess, sys
subprocess.Popen(["sleep", "600"], start_new_session=True)  # forgotten by whoever started it
class Told(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"said": "one"}')
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Told).serve_forever()
"""
LIMIT_S = 60.0


def until(holds: Callable[[], Any], what: str) -> Any:
    """What `holds` answers as soon as it is true; an AssertionError that says `what` did not come."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come within {LIMIT_S:g} s")


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


class Running:
    """A `deploy dev` in a process group of its own, as a terminal would start it."""

    def __init__(self, folder: Path, *words: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.said = folder.parent / "said.txt"
        clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "DEPLOY_ENV")}
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployer", "dev", "--port", str(self.port), *words],
                cwd=folder,
                env={**clean, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def told(self) -> dict[str, Any]:
        """What the app answers; empty while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return dict(json.load(answer))
        except (OSError, ValueError):
            assert self.process.poll() is None, self.said.read_text()
            return {}

    def interrupted(self) -> int:
        """Ctrl-C, which a terminal sends to every process of the group; the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(LIMIT_S)

    def left(self) -> list[str]:
        """Processes that work in the project."""
        return processes_with(str(self.folder))


@contextmanager
def running(folder: Path, *words: str, env: dict[str, str] | None = None) -> Iterator[Running]:
    one = Running(folder, *words, env=env)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(LIMIT_S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "shop"
    made.mkdir()
    return made


def write(folder: Path, code: str, settings: str = "", requirements: str = "") -> None:
    (folder / "main.py").write_text(code)
    (folder / "deploy.yaml").write_text("app: shop\n" + settings)
    (folder / "requirements.txt").write_text(requirements)


@pytest.mark.parametrize(
    ("code", "server", "requirements"),
    [
        (FASTAPI, "uvicorn", "uvicorn"),
        (FASTAPI, "gunicorn+uvicorn", "gunicorn\nuvicorn-worker"),
        (FASTAPI, "gunicorn-asgi", "gunicorn"),
        (FLASK, "gunicorn", "gunicorn"),
    ],
    ids=["uvicorn", "gunicorn+uvicorn", "gunicorn-asgi", "gunicorn"],
)
def test_it_serves_loads_what_is_edited_and_leaves_nothing(
    folder: Path, code: str, server: str, requirements: str
) -> None:
    write(folder, code, "env: {GREETING: 'hello $HOME'}\n", requirements)
    with running(folder) as one:
        first = until(one.told, "the first answer")
        assert (first["said"], first["cwd"]) == ("one", str(folder))
        seen = first["env"]
        assert (seen["GREETING"], seen["DEPLOY_APP"], seen["DEPLOY_ENV"]) == ("hello $HOME", "shop", "dev")
        assert (seen["PORT"], seen["DEPLOY_RELEASE"], seen["DEPLOY_INSTANCE"]) == (str(one.port), "dev", "0")
        (folder / "main.py").write_text(code.replace("one", "two"))
        saved = itertools.count(2, 2)

        def loaded() -> bool:
            """Saves it again every ten seconds: what was saved before a reloader's first look, it takes for the first.

            Reloaders look at times of modification, some in whole seconds.
            """
            later = time.time() + next(saved)
            os.utime(folder / "main.py", (later, later))
            ends = time.monotonic() + 10
            while time.monotonic() < ends:
                if one.told().get("said") == "two":
                    return True
                time.sleep(0.05)
            return False

        until(loaded, "the edited code")
        assert one.interrupted() == 130
    assert one.left() == []
    text = one.said.read_text()
    assert f"http://127.0.0.1:{one.port}/ by {server} " in text and "Traceback" not in text.partition("ending")[0]


def test_what_of_the_apps_own_gunicorn_file_does_not_count_is_said(folder: Path) -> None:
    write(folder, FLASK, requirements="gunicorn")
    (folder / "gunicorn.conf.py").write_text("bind = '127.0.0.1:1'\n")
    with running(folder) as one:
        until(one.told, "the first answer")
        assert one.interrupted() == 130
    assert "gunicorn.conf.py:1: bind is left aside: " in one.said.read_text()


def test_a_term_to_deploy_alone_ends_the_server_too(folder: Path) -> None:
    write(folder, FASTAPI, requirements="uvicorn")
    with running(folder) as one:
        until(one.told, "the first answer")
        one.process.terminate()
        assert one.process.wait(LIMIT_S) == 130
    assert one.left() == []


def test_a_command_gets_its_port_and_what_it_forgot_is_ended(folder: Path) -> None:
    write(folder, COMMAND, f"runtime: {{command: '{sys.executable} main.py $PORT'}}\n")
    with running(folder) as one:
        assert until(one.told, "the first answer") == {"said": "one"}
        assert any("sleep 600" in line for line in one.left())
        assert one.interrupted() == 130
    assert one.left() == []


def test_a_server_that_ends_by_itself_gives_its_status_and_leaves_nothing(folder: Path) -> None:
    code = "import subprocess, sys\nsubprocess.Popen(['sleep', '600'])\nprint('as it is: ┃ ✓')\nsys.exit(7)\n"
    write(folder, code, f"runtime: {{command: '{sys.executable} main.py $PORT'}}\n")
    with running(folder, "--output", "json") as one:
        assert one.process.wait(LIMIT_S) == 7
    assert one.left() == []
    lines = one.said.read_text().splitlines()
    assert "as it is: ┃ ✓" in lines
    last = json.loads(lines[-1])
    assert (last["event"], last["exit_status"]) == ("run.finished", 7)
    assert "ended by itself with exit status 7" in last["error"]["message"]


def test_json_lines_are_alone_on_stdout(folder: Path) -> None:
    write(folder, "print('the app speaks')\n", f"runtime: {{command: '{sys.executable} main.py $PORT'}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "deployer", "dev", "--port", str(free_port()), "--output", "json"],
        cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["output", "run.finished"]
    assert done.stderr == "the app speaks\n"


def deployed(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`deploy dev` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "deployer", "dev", *words],
        cwd=folder, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


SHOWS = "import os\nprint({name: os.environ.get(name) for name in ('KEY', 'TOKEN', 'MINE', 'LEVEL')})\n"
SECRETS = "secrets: {KEY: {env: DEV_KEY}, TOKEN: {command: 'printf abc'}, MINE: {command: 'exit 1'}}\n"


def test_secrets_that_cannot_be_had_are_named_and_end_nothing_but_a_strict_run(folder: Path) -> None:
    write(folder, SHOWS, SECRETS + f"runtime: {{command: '{sys.executable} main.py $PORT'}}\n")
    port = str(free_port())
    done = deployed(folder, "--port", port, env={"MINE": "from the shell"})
    assert done.returncode == 0, done.stderr
    assert "{'KEY': None, 'TOKEN': 'abc', 'MINE': 'from the shell', 'LEVEL': None}" in done.stdout
    assert done.stdout.count("! secrets.") == 1 and "export DEV_KEY=" in done.stdout
    strict = deployed(folder, "--port", port, "--strict")
    assert (
        strict.returncode == 2
        and "secrets.KEY" in strict.stderr
        and "deploy.yaml:" in strict.stderr
        and "{" not in strict.stdout
    )


def test_the_overlay_of_dev_counts_unless_another_is_named(folder: Path) -> None:
    write(folder, SHOWS, f"default_env: prod\nruntime: {{command: '{sys.executable} main.py $PORT'}}\n")
    (folder / "deploy.dev.yaml").write_text("env: {LEVEL: of dev}\n")
    (folder / "deploy.prod.yaml").write_text("env: {LEVEL: of prod}\n")
    port = str(free_port())
    assert "'LEVEL': 'of dev'" in deployed(folder, "--port", port).stdout
    assert "'LEVEL': 'of prod'" in deployed(folder, "--port", port, "--env", "prod").stdout


def test_a_port_that_is_taken_is_one_clear_error(folder: Path) -> None:
    write(folder, FASTAPI, requirements="uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = deployed(folder, "--port", str(port))
    assert done.returncode == 2 and f"127.0.0.1:{port} is not free" in done.stderr
    assert "deploy dev --port " in done.stderr and "Traceback" not in done.stderr


def test_what_a_push_refuses_is_refused(folder: Path) -> None:
    write(folder, FASTAPI, "runtime: {args: ['--reload']}\n", "uvicorn")
    done = deployed(folder)
    assert done.returncode == 2 and "deploy.yaml" in done.stderr and "--reload" in done.stderr


def test_a_virtualenv_without_the_server_says_what_to_type(folder: Path) -> None:
    write(folder, FASTAPI, requirements="fastapi")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=folder, check=True)
    done = deployed(folder)
    assert done.returncode == 2
    assert "uvicorn is not installed in the project's virtualenv (.venv/bin/python)" in done.stderr
    assert "uv pip install --python .venv/bin/python -r requirements.txt uvicorn" in done.stderr


@pytest.mark.parametrize(
    ("file", "borrowed", "hint"),
    [
        ("requirements.txt", True, "python3 -m venv .venv && .venv/bin/python -m pip install -r requirements.txt nope"),
        (None, True, "python3 -m venv .venv && .venv/bin/python -m pip install nope"),
        ("uv.lock", True, "uv sync, and if that does not bring it: uv pip install --python .venv/bin/python nope"),
        ("pyproject.toml", False, f"{sys.executable} -m pip install -e . nope"),
    ],
)
def test_the_way_to_install_is_that_of_the_project(
    file: str | None, borrowed: bool, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    python = interpreter.Interpreter(Path(sys.executable), "it", borrowed)
    python.require(["pip"], file)
    with pytest.raises(SettingsError) as caught:
        python.require(["pip", "nope"], file)
    assert caught.value.hint == f"type: {hint}" and "nope is not installed" in caught.value.message


def test_which_interpreter_it_is(tmp_path: Path) -> None:
    active, own = tmp_path / "active", tmp_path / "project"
    for folder in (active, own / ".venv"):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)
    environ = {"VIRTUAL_ENV": str(active)}
    assert interpreter.find([tmp_path, own], environ).path == own / ".venv" / "bin" / "python"
    assert interpreter.find([tmp_path], environ).path == active / "bin" / "python"
    assert interpreter.find([tmp_path], {}).path == Path(sys.executable)
    with pytest.raises(SettingsError, match="no bin/python"):
        interpreter.find([tmp_path], {"VIRTUAL_ENV": str(tmp_path)})


def connected(port: int) -> socket.socket | None:
    """A connection to this machine's port, once somebody listens there."""
    try:
        return socket.create_connection(("127.0.0.1", port))
    except ConnectionRefusedError:
        return None


def test_the_debugger_is_answered_at_the_terminal(folder: Path) -> None:
    write(folder, FASTAPI.replace('    return {"said"', '    breakpoint()\n    return {"said"'), requirements="uvicorn")
    port = free_port()
    words = [sys.executable, "-m", "deployer", "dev", "--port", str(port)]
    with Terminal(words, folder) as terminal:
        terminal.until("Application startup complete")
        # uvicorn says that before it listens.
        with until(lambda: connected(port), "it listens") as user:
            user.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            terminal.until("(Pdb)")
            terminal.types("continue\n")
            terminal.until("200 OK")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.end() == 130, terminal.screen
    assert "Traceback" not in terminal.screen and processes_with(str(folder)) == []
