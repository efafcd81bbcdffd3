"""A server that the requirements hold too old for what is asked of it is told before a host is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.errors import SettingsError
from deployer.settings.inference.infer import Inferred, infer
from deployer.settings.models import Settings


def inferred(folder: Path, requirements: str, **runtime: Any) -> Inferred:
    (folder / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
    (folder / "requirements.txt").write_text(requirements)
    return infer(folder, Settings.model_validate({"app": "shop", "runtime": runtime}))


@pytest.mark.parametrize(
    ("requirements", "runtime", "said", "least"),
    [
        ("gunicorn==23.0.0", {}, "came with gunicorn 24", "gunicorn>=24"),
        ("uvicorn==0.21.1", {}, "came with uvicorn 0.22", "uvicorn>=0.22"),
        ("uvicorn==0.21.1", {"max_requests": 1000, "workers": 2}, "replaces from 0.30 on", "uvicorn>=0.30"),
        ("uvicorn==0.29.0", {"max_requests": 1000, "workers": 2}, "runtime.max_requests ends", "uvicorn>=0.30"),
        ("uvicorn<0.30", {"max_requests": 1000}, "replaces from 0.30 on", "server: gunicorn+uvicorn"),
        (
            "uvicorn==0.40.0",
            {"max_requests": 1000, "max_requests_jitter": 9, "workers": 2},
            "came with uvicorn 0.41",
            "uvicorn>=0.41",
        ),
    ],
)
def test_a_version_that_cannot_serve_so_is_refused_with_the_least(
    tmp_path: Path, requirements: str, runtime: Any, said: str, least: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        inferred(tmp_path, requirements, **runtime).require_server()
    assert said in caught.value.message and least in str(caught.value.hint)


@pytest.mark.parametrize(
    ("requirements", "runtime"),
    [
        ("uvicorn==0.22.0", {"workers": 2}),
        ("uvicorn==0.30.0", {"workers": 2, "max_requests": 1000}),
        ("uvicorn>=0.20", {"max_requests": 1000, "max_requests_jitter": 9}),
        ("gunicorn\nuvicorn==0.21.1", {"max_requests": 1000}),
    ],
)
def test_a_version_that_can_is_left_in_peace(tmp_path: Path, requirements: str, runtime: Any) -> None:
    inferred(tmp_path, requirements, **runtime).require_server()


@pytest.mark.parametrize(
    ("requirements", "runtime", "warned"),
    [
        ("uvicorn==0.29.0", {"workers": 2}, True),
        ("uvicorn==0.29.0", {}, True),
        ("uvicorn==0.29.0", {"workers": 1}, False),
        ("uvicorn==0.30.0", {"workers": 2}, False),
        ("gunicorn\nuvicorn==0.29.0", {"workers": 2}, False),
    ],
)
def test_workers_that_are_not_replaced_are_warned_of(
    tmp_path: Path, requirements: str, runtime: Any, warned: bool
) -> None:
    found = inferred(tmp_path, requirements, **runtime).warnings
    assert any("does not replace a worker" in line and "uvicorn>=0.30" in line for line in found) == warned
