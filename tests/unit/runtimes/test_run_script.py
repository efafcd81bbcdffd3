"""The run script: real sh, real servers, nasty values."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer import runtimes
from deployer.artifact.secretfile import render as render_secrets
from deployer.errors import SettingsError
from deployer.runtimes import Serving
from deployer.runtimes.environment import check_env, release_environment
from deployer.runtimes.run import render_run, render_within

from .serving import ASGI, WSGI, make_release, serving

NASTY = {
    "SPACES": " two  words ",
    "SINGLE": "it's",
    "DOUBLE": 'say "hi"',
    "DOLLAR": "$HOME $(id) `id` ${X}",
    "PERCENT": "100% %i %(x)s",
    "BACKSLASH": "C:\\new\\",
    "EMPTY": "",
    "UNICODE": "é→",
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def script(made: Serving, server: str, base_port: int, **more: Any) -> str:
    values: dict[str, Any] = {
        "base_port": base_port, "spare_port": base_port + 100, "env": made.env, "app": "shop", "env_name": "prod",
        "release": "20240101T000000-abc", "secrets_file": "/nonexistent/secrets.env",
        "slots": "/nonexistent/slots", **more,
    }  # fmt: skip
    return render_run(made, runtimes.get(server), **values)


def install(release: Path, text: str) -> None:
    (release / "run").write_text(text)
    (release / "run").chmod(0o755)


def answer(port: int, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the app answers, once it does; the test fails when the server ends first."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended by itself"
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            found: dict[str, Any] = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10))
            return found
        time.sleep(0.05)
    raise AssertionError("the server did not answer")


@contextlib.contextmanager
def started(release: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """As a unit starts it: into the slot by `cd -P`, then exec of `run`."""
    slot = release.parent / "slots" / str(port)
    slot.parent.mkdir(exist_ok=True)
    slot.symlink_to(release)
    command = f'cd -P "slots/{port}" && exec ./run'
    env = {"PATH": os.environ["PATH"], "PORT": str(port)}
    process = subprocess.Popen(["/bin/sh", "-c", command], cwd=release.parent, env=env, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


SHELL = {
    "IFS": "0 1/sh",
    "CDPATH": "/:/etc",
    "ENV": "/etc/passwd",
    "PS4": "$(false)",
    "PATH": "/nowhere",
    "PWD": "/",
    "_": "x",
}


def assigned_names() -> set[str]:
    """Every variable that the scripts themselves set, as they are rendered for a server and for other commands."""
    made = serving(env={}, args=())
    texts = [script(made, name, 8000) for name in ("uvicorn", "gunicorn", "gunicorn+uvicorn")]
    texts.append(
        render_within(
            env={}, pythonpath=("src",), search=(), app="shop", env_name="prod", release="r", secrets_file="/nowhere"
        )
    )
    return {name for text in texts for name in re.findall(r"^\s*(?:export )?([A-Za-z_]\w*)=", text, re.MULTILINE)}


def free_names() -> dict[str, str]:
    """Names that a user may give to a variable although a script sets it, or a shell knows it."""
    wanted = {**dict.fromkeys((*assigned_names(), "here", "port", "folder", "name", "user", "UID"), "/x y"), **SHELL}
    return {name: value for name, value in wanted.items() if not refused(name)}


def refused(name: str) -> bool:
    try:
        check_env({name: ""})
    except SettingsError:
        return True
    return False


@pytest.mark.parametrize("place", ["env", "secrets"])
def test_no_name_of_a_users_variable_breaks_a_script(tmp_path: Path, place: str) -> None:
    """Whatever the scripts call their own, and whatever means something to a shell, is refused or harmless."""
    names = free_names()
    assert {"here", "port", "IFS", "CDPATH", "PATH"} <= set(names) and not [n for n in names if n.startswith("DEPLOY_")]
    release = make_release(tmp_path / "release", WSGI)
    secrets = tmp_path / "secrets.env"
    secrets.write_text(render_secrets(names if place == "secrets" else {}))
    env = names if place == "env" else {}
    made = serving(env=env, command="/usr/bin/env -0 P=$PORT")
    text = render_run(
        made, runtimes.get("command"), base_port=8000, spare_port=8500, env=env, app="shop", env_name="prod",
        release="r", secrets_file=str(secrets), slots="/nowhere",
    )  # fmt: skip
    install(release, text)
    within = render_within(
        env=env, pythonpath=("src",), search=(), app="shop", env_name="prod", release="r", secrets_file=str(secrets)
    )
    (release / "within").write_text(within)
    for words in (["./run"], ["/bin/sh", "./within", "/usr/bin/env", "-0"]):
        done = subprocess.run(words, cwd=release, env={"PATH": "/usr/bin:/bin", "PORT": "8001"}, capture_output=True)
        assert done.returncode == 0, done.stderr
        seen = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
        own = {name: value for name, value in names.items() if name not in ("PATH", "PWD", "PYTHONPATH", "_")}
        assert {name: seen[name] for name in own} == own
        assert seen["PATH"] == f"{release}/.venv/bin:/nowhere" and seen["DEPLOY_APP"] == "shop"


@pytest.mark.parametrize("name", ["PORT", "DEPLOY_FOLDER", "PPID", "OPTIND", "LISTEN_FDS"])
def test_names_that_would_break_a_script_are_refused(name: str) -> None:
    assert refused(name)


@pytest.mark.parametrize(
    ("server", "code", "interface", "workers", "more"),
    [
        ("uvicorn", ASGI, "asgi", 1, {}),
        ("uvicorn", ASGI, "asgi", 2, {}),
        ("gunicorn", WSGI, "wsgi", 2, {}),
        ("gunicorn", WSGI, "wsgi", 1, {"worker_class": "gthread", "args": ("--threads", "3")}),
        ("gunicorn", WSGI, "wsgi", 1, {"worker_class": "gevent"}),
        ("gunicorn", WSGI, "wsgi", 1, {"worker_class": "tornado"}),
        ("gunicorn+uvicorn", ASGI, "asgi", 1, {}),
        ("gunicorn-asgi", ASGI, "asgi", 1, {}),
    ],
)
def test_every_server_starts_through_its_run_script(
    tmp_path: Path, server: str, code: str, interface: Any, workers: int, more: dict[str, Any]
) -> None:
    release = make_release(tmp_path / "rel ease", code)
    made = serving(interface=interface, workers=workers, env=NASTY, graceful_timeout=3, **more)
    port = free_port()
    for name, text in runtimes.get(server).files(made).items():
        (release / name).write_text(text)
    secrets = tmp_path / "secrets.env"
    secrets.write_text("export KEY='s3cret it'\\''s'\nexport PORT='1'\n")
    install(release, script(made, server, port - 2, secrets_file=str(secrets)))
    with started(release, port) as process:
        seen = answer(port, process)
        assert seen["cwd"] == str(release.resolve())
        env = seen["env"]
        assert {name: env[name] for name in NASTY} == NASTY
        assert env["KEY"] == "s3cret it's"
        assert env["PORT"] == str(port)
        assert env["DEPLOY_INSTANCE"] == "2"
        assert (env["DEPLOY_APP"], env["DEPLOY_ENV"], env["DEPLOY_RELEASE"]) == ("shop", "prod", "20240101T000000-abc")
        assert env["PATH"].startswith(f"{release.resolve()}/.venv/bin:")
        assert os.path.realpath(f"/proc/{process.pid}/cwd") == str(release.resolve())
    assert process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


def test_a_command_of_the_users_own_gets_its_port_and_only_that(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release", WSGI)
    made = serving(server="command", command="printf '%s\\n' $PORT 'at:$PORT' '$HOME' '`id`' 'two words'")
    install(release, script(made, "command", 8000))
    done = subprocess.run(["./run"], cwd=release, env={"PORT": "8000", "PATH": os.environ["PATH"]}, capture_output=True)
    assert done.stdout.decode().splitlines() == ["8000", "at:8000", "$HOME", "`id`", "two words"]


def run_and_show(release: Path, text: str, port: str, **env: str) -> subprocess.CompletedProcess[str]:
    install(release, text)
    environ = {"PATH": os.environ["PATH"], **({"PORT": port} if port else {}), **env}
    return subprocess.run(["./run"], cwd=release, env=environ, capture_output=True, text=True)


def test_both_slots_of_an_instance_have_its_index(tmp_path: Path) -> None:
    release = make_release(tmp_path, WSGI)
    made = serving(server="command", command="sh -c 'echo $DEPLOY_INSTANCE' -- $PORT")
    for base, spare in ((8000, 8100), (8100, 8000)):
        text = script(made, "command", base, spare_port=spare)
        assert run_and_show(release, text, str(base + 3)).stdout == "3\n"
        assert run_and_show(release, text, str(spare + 3)).stdout == "3\n"


def test_python_path_puts_the_release_first_and_adds_no_empty_entry(tmp_path: Path) -> None:
    release = make_release(tmp_path, WSGI)
    made = serving(server="command", command="sh -c 'echo \"$PYTHONPATH\"' -- $PORT", pythonpath=(".", "src", "my lib"))
    text = script(made, "command", 8000)
    here = release.resolve()
    assert run_and_show(release, text, "8000").stdout == f"{here}/src:{here}/my lib\n"
    assert run_and_show(release, text, "8000", PYTHONPATH="/x").stdout == f"{here}/src:{here}/my lib:/x\n"


def test_without_a_port_or_with_broken_secrets_nothing_starts(tmp_path: Path) -> None:
    release = make_release(tmp_path, WSGI)
    made = serving(server="command", command="echo started $PORT")
    done = run_and_show(release, script(made, "command", 8000), "")
    assert done.returncode != 0 and "port of the slot" in done.stderr and "started" not in done.stdout
    (tmp_path / "torn.env").write_text("export KEY='torn off")
    done = run_and_show(release, script(made, "command", 8000, secrets_file=str(tmp_path / "torn.env")), "8000")
    assert done.returncode != 0 and "started" not in done.stdout


@pytest.mark.parametrize("env", [{"PORT": "1"}, {"DEPLOY_X": "1"}, {"a-b": "1"}, {"A": "two\nlines"}, {"A": "nul\0"}])
def test_names_and_values_that_cannot_be_are_the_users_error(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        check_env(env)
    with pytest.raises(SettingsError):
        script(serving(env=env), "uvicorn", 8000)


def test_hooks_see_the_same_as_instances_but_no_port() -> None:
    made = release_environment(
        app="shop", env_name="prod", release="r1", folder="/srv/shop/releases/r1", env={"A": "b"}, pythonpath=("src",)
    )
    assert made["PATH"].split(":")[0] == "/srv/shop/releases/r1/.venv/bin"
    assert made["PYTHONPATH"] == "/srv/shop/releases/r1/src"
    assert made["A"] == "b" and made["DEPLOY_RELEASE"] == "r1" and "PORT" not in made


def gunicorn_settings(release: Path, made: Serving) -> dict[str, str]:
    """What gunicorn itself says that it was told, by file and command line."""
    places = {"$PORT": "8000", "$DEPLOY_VENV": ".venv", "$DEPLOY_SLOT": "."}
    words = list(runtimes.get("gunicorn").command(made))
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    command = [*words[:-1], "--print-config", words[-1]]
    shown = subprocess.run(command, cwd=release, capture_output=True, text=True, check=True).stdout
    found = dict(line.split(" = ", 1) for line in (line.strip() for line in shown.splitlines()) if " = " in line)
    return {name.strip(): value.strip() for name, value in found.items()}


def test_threads_in_runtime_args_win_over_the_apps_own_file(tmp_path: Path) -> None:
    release = make_release(tmp_path, WSGI)
    (release / "gunicorn.conf.py").write_text("threads = 7\n")
    made = serving(interface="wsgi", worker_class="gthread", args=("--threads", "8"))
    for name, text in runtimes.get("gunicorn").files(made).items():
        (release / name).write_text(text)
    found = gunicorn_settings(release, made)
    assert (found["threads"], found["worker_class"]) == ("8", "gthread")


def test_no_limit_is_passed_on_as_none() -> None:
    (text,) = runtimes.get("gunicorn").files(serving(interface="wsgi", timeout=0, keepalive=0)).values()
    assert "\ntimeout = 0\n" in text and "\nkeepalive = 0\n" in text


@pytest.mark.parametrize(
    ("said", "jitter"), [({}, 500), ({"max_requests_jitter": 7}, 7), ({"max_requests_jitter": 0}, 0)]
)
def test_workers_are_not_all_replaced_at_once(tmp_path: Path, said: dict[str, Any], jitter: int) -> None:
    """Half of max_requests is what each worker may live longer, unless the settings say something else."""
    release = make_release(tmp_path, WSGI)
    made = serving(interface="wsgi", max_requests=1000, **said)
    for name, text in runtimes.get("gunicorn").files(made).items():
        (release / name).write_text(text)
    found = gunicorn_settings(release, made)
    assert (found["max_requests"], found["max_requests_jitter"]) == ("1000", str(jitter))
    several = serving(workers=2, max_requests=1000, **said)
    words, variables = runtimes.get("uvicorn").command(several), runtimes.get("uvicorn").variables(several)
    options = uvicorn_options([*words[3:]], variables)
    assert (options["limit_max_requests"], options["limit_max_requests_jitter"]) == (1000, jitter)


def uvicorn_options(words: list[str], variables: dict[str, str]) -> dict[str, Any]:
    """What uvicorn's own command line makes of the words, in such an environment."""
    code = (
        "import json, sys; from uvicorn.main import main;"
        "made = main.make_context('uvicorn', sys.argv[1:], auto_envvar_prefix='UVICORN').params;"
        "print(json.dumps(made, default=str))"
    )
    words = [word.replace("$PORT", "8000") for word in words]
    command = [sys.executable, "-c", code, *words]
    shown = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def test_gunicorn_config_lets_the_apps_own_file_tune_but_not_break_a_rollout(tmp_path: Path) -> None:
    release = make_release(tmp_path, WSGI)
    own = "threads = 7\ntimeout = 99\npreload_app = True\nworkers = 50\nbind = ':1'\nkeepalive = 60\n"
    (release / "gunicorn.conf.py").write_text(own)
    made = serving(interface="wsgi", workers=3)
    for name, text in runtimes.get("gunicorn").files(made).items():
        (release / name).write_text(text)
    found = gunicorn_settings(release, made)
    assert (found["threads"], found["timeout"]) == ("7", "99")
    assert (found["workers"], found["preload_app"], found["keepalive"]) == ("3", "False", "5")
    assert found["bind"] == "['127.0.0.1:8000']"
    assert found["control_socket_disable"] == "True"


def test_the_users_own_templates_take_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "run.sh.j2").write_text("#!/bin/sh\nulimit -n 9999\nexec {{ command }}\n")
    made = replace(serving(), search=(tmp_path,))
    assert "ulimit -n 9999" in script(made, "uvicorn", 8000)
