"""Which Python an app runs on, and what a host that lacks it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.facts import bare_host, facts
from support.topologies import topology

from deployer.errors import NotReadyError
from deployer.plan.facts import Facts
from deployer.rollout.delivery.interpreter import interpreter, require_python
from deployer.rollout.run.project import load

OWN = {"python": {"version": "3.9.2", "path": "/usr/bin/python3"}}


def seen(**more: Any) -> Facts:
    return facts(bare_host("web1", **OWN, **more))


def shape(version: str | None = None, range_: str | None = None) -> Any:
    return replace(topology(1), python_version=version, python_range=range_)


def refused(found: Facts, **asked: str) -> NotReadyError:
    with pytest.raises(NotReadyError) as caught:
        require_python(shape(**asked), found)
    assert (caught.value.code, caught.value.host) == ("no_python", "web1")
    return caught.value


def test_a_host_without_the_version_asked_for_is_told_both_ways_out() -> None:
    error = refused(seen(pythons={"3.12": None}), version="3.12")
    assert str(error) == "web1, step survey: web1 has no Python 3.12: its own is 3.9.2"
    assert 'python: {version: "3.9"}' in (error.hint or "") and "uv python install 3.12" in (error.hint or "")


def test_a_host_with_the_version_asked_for_uses_it() -> None:
    found = seen(pythons={"3.12": "/usr/local/bin/python3.12"})
    require_python(shape("3.12"), found)
    assert interpreter(shape("3.12"), found, "web1") == "/usr/local/bin/python3.12"


def test_without_a_version_the_hosts_own_must_be_in_the_apps_range() -> None:
    assert "the app requires >=3.10" in refused(seen(), range_=">=3.10").message
    for range_ in (None, ">=3.9", "not a range"):
        require_python(shape(range_=range_), seen())
    assert interpreter(shape(range_=">=3.9"), seen(), "web1") == "/usr/bin/python3"


def test_what_the_code_asks_for_counts_where_the_settings_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "requirements.txt").write_text("fastapi\nuvicorn\n")
    (tmp_path / ".python-version").write_text("3.12\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n')
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/prod.yaml").write_text("web: {hosts: {web1: }}\n")
    (tmp_path / "deploy.yaml").write_text("app: shop\n")
    found = load("prod", start=tmp_path).topology
    assert (found.python_version, found.python_range) == ("3.12", ">=3.11")
    (tmp_path / "deploy.yaml").write_text('app: shop\npython: {version: "3.13"}\n')
    assert load("prod", start=tmp_path).topology.python_version == "3.13"
