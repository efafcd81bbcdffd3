"""The check of a built release: it runs with the release's own Python and ends with the cause."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployer import runtimes

from .serving import ASGI, WSGI, make_release, serving


def check(release: Path, server: str, **how: Any) -> subprocess.CompletedProcess[str]:
    made = serving(**how)
    runtime = runtimes.get(server)
    for name, text in runtime.files(made).items():
        (release / name).write_text(text)
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(runtime.check(made), cwd=release, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn+uvicorn", "gunicorn-asgi"])
def test_a_good_asgi_release_passes(tmp_path: Path, server: str) -> None:
    done = check(make_release(tmp_path, ASGI), server, workers=2)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("worker_class", ["sync", "gthread"])
def test_a_good_wsgi_release_passes(tmp_path: Path, worker_class: str) -> None:
    done = check(make_release(tmp_path, WSGI), "gunicorn", interface="wsgi", worker_class=worker_class)
    assert done.returncode == 0, done.stderr


def test_an_import_whose_time_is_up_shows_where_it_was(tmp_path: Path) -> None:
    """The host ends it by TERM; its last lines are all that tells a person what takes so long."""
    release = make_release(tmp_path, "import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    made = serving()
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    command = runtimes.get("uvicorn").check(made)
    with subprocess.Popen(
        command, cwd=release, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout and run.stdout.readline() == "begun\n"
        run.terminate()
        _, errors = run.communicate(timeout=60)
    assert run.returncode == -signal.SIGTERM
    assert "shop/main.py" in errors


def test_a_src_layout_is_found(tmp_path: Path) -> None:
    release = make_release(tmp_path, ASGI, module="src/shop/main.py")
    assert check(release, "uvicorn").returncode == 1
    assert check(release, "uvicorn", pythonpath=("src",)).returncode == 0


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn+uvicorn"])
def test_a_factory_is_called(tmp_path: Path, server: str) -> None:
    good = make_release(tmp_path, ASGI)
    assert check(good, server, path="shop.main:create", factory=True).returncode == 0
    broken = make_release(tmp_path, ASGI + "\ndef broken():\n    raise RuntimeError('no DATABASE_URL')\n")
    done = check(broken, server, path="shop.main:broken", factory=True)
    assert done.returncode == 1 and done.stderr.strip().endswith("RuntimeError: no DATABASE_URL")


@pytest.mark.parametrize(
    ("code", "path", "cause"),
    [
        ("import not_there_at_all\n", "shop.main:app", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        (ASGI, "shop.main:application", "shop.main has no attribute 'application'; it has app, create"),
        ("app = 3\n", "shop.main:app", "shop.main:app is not a valid app: 'int' cannot be called"),
        ("def app(:\n", "shop.main:app", "SyntaxError: invalid syntax"),
        ("import sys; sys.exit(4)\n", "shop.main:app", "SystemExit: 4"),
    ],
)
def test_a_release_that_cannot_be_loaded_ends_with_the_cause(tmp_path: Path, code: str, path: str, cause: str) -> None:
    done = check(make_release(tmp_path, code), "uvicorn", path=path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == cause


def test_an_option_that_this_uvicorn_does_not_have_is_found_before_the_rollout(tmp_path: Path) -> None:
    done = check(make_release(tmp_path, ASGI), "uvicorn", args=("--no-such-option",))
    assert done.returncode == 1 and "No such option" in done.stderr


def test_an_option_that_this_gunicorn_does_not_have_is_found_before_the_rollout(tmp_path: Path) -> None:
    done = check(make_release(tmp_path, WSGI), "gunicorn", interface="wsgi", args=("--no-such-option",))
    assert done.returncode != 0 and "--no-such-option" in done.stderr


def test_a_missing_server_is_named(tmp_path: Path) -> None:
    release = make_release(tmp_path, ASGI)
    (release / "uvicorn.py").write_text("raise ImportError('pretend it is not installed')\n")
    done = check(release, "uvicorn")
    assert done.returncode == 1 and "the virtualenv lacks uvicorn" in done.stderr


def test_an_app_that_starts_threads_does_not_hang_the_check(tmp_path: Path) -> None:
    code = ASGI + "\nimport threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\n"
    assert check(make_release(tmp_path, code), "uvicorn").returncode == 0
