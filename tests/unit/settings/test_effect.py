"""Keys of `runtime:` that would do nothing, or something else than they say: told before a host is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.errors import SettingsError
from deployer.settings.inference.infer import Inferred, infer
from deployer.settings.models import Settings

CODE = {
    "asgi": "from fastapi import FastAPI\n\napp = FastAPI()\n",
    "wsgi": "from flask import Flask\n\napp = Flask(__name__)\n",
}
COMMAND = {"command": "serve $PORT"}


def inferred(folder: Path, interface: str = "asgi", **runtime: Any) -> Inferred:
    (folder / "main.py").write_text(CODE[interface])
    requirements = "uvicorn\nuvicorn-worker\ngunicorn\n" if "gunicorn" in runtime.get("server", "") else "uvicorn\n"
    (folder / "requirements.txt").write_text(requirements + ("gunicorn\n" if interface == "wsgi" else ""))
    return infer(folder, Settings.model_validate({"app": "shop", "runtime": runtime}))


@pytest.mark.parametrize(
    ("interface", "runtime", "key"),
    [
        ("asgi", {"timeout": "60s"}, "timeout"),
        ("asgi", {"max_requests_jitter": 10}, "max_requests_jitter"),
        ("wsgi", {"max_requests_jitter": 10}, "max_requests_jitter"),
        ("asgi", {**COMMAND, "workers": 3}, "workers"),
        ("asgi", {**COMMAND, "timeout": 3}, "timeout"),
        ("asgi", {**COMMAND, "max_requests": 3}, "max_requests"),
        ("asgi", {**COMMAND, "access_log": "json"}, "access_log"),
        ("asgi", {**COMMAND, "worker_class": "gevent"}, "worker_class"),
        ("asgi", {"keepalive": 0}, "keepalive"),
        ("asgi", {"server": "gunicorn+uvicorn", "keepalive": 0}, "keepalive"),
        ("wsgi", {"worker_class": "gtread"}, "worker_class"),
        ("wsgi", {"worker_class": "foo"}, "worker_class"),
    ],
)
def test_a_key_that_does_nothing_is_refused(tmp_path: Path, interface: str, runtime: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, interface, **runtime).require_server()
    assert caught.value.message.startswith(f"runtime.{key} ") and caught.value.hint


@pytest.mark.parametrize(
    ("interface", "runtime"),
    [
        ("wsgi", {"timeout": 60, "keepalive": 0, "max_requests": 1000, "max_requests_jitter": 10}),
        ("asgi", {"server": "gunicorn-asgi", "timeout": 0, "keepalive": 0}),
        ("asgi", {"server": "gunicorn+uvicorn", "timeout": 60}),
        ("asgi", {**COMMAND, "keepalive": 60, "graceful_timeout": "10s"}),
        ("asgi", {"max_requests": 0, "max_requests_jitter": 10}),
        ("wsgi", {"worker_class": "gthread"}),
        ("wsgi", {"worker_class": "shop.workers.Mine"}),
    ],
)
def test_a_key_that_does_something_is_left_in_peace(tmp_path: Path, interface: str, runtime: dict[str, Any]) -> None:
    found = inferred(tmp_path, interface, **runtime)
    found.require_server()
    assert not [line for line in found.warnings if "whole seconds" in line]


@pytest.mark.parametrize(
    ("key", "written", "gets"),
    [("timeout", "900ms", "1"), ("keepalive", "1500ms", "2"), ("graceful_timeout", "0s", "1")],
)
def test_a_duration_that_the_server_cannot_have_is_said(tmp_path: Path, key: str, written: str, gets: str) -> None:
    found = [line for line in inferred(tmp_path, "wsgi", **{key: written}).warnings if "whole seconds" in line]
    assert len(found) == 1 and found[0].startswith(f"runtime.{key} is ") and found[0].endswith(f"it gets {gets}")
