"""What all tests of the rollout share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import BREACHES
from whole import Commands


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are noted in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _no_breaches() -> Iterator[None]:
    """Every request to a scripted fleet, and every answer of it, is one that there is between real ones."""
    BREACHES.clear()
    yield
    assert BREACHES == []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The command line in a fresh project with a scripted fleet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    return Commands(work, monkeypatch)
