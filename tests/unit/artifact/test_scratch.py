"""Checkouts do not outlive their runs: what a killed one left goes with the next, and a living one's stays."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployer.artifact.scratch import remove_stale, scratch

OWNER = """\
import sys
from deployer.artifact.scratch import scratch
with scratch("t-tree-") as folder:
    (folder / "sealed").mkdir()
    (folder / "sealed/file").write_text("x")
    (folder / "sealed").chmod(0o555)
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's place for temporary files, for us and for those we start."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextmanager
def owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another run with a folder of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_dead_ones_folder_goes_and_a_living_ones_stays(place: Path) -> None:
    with owner() as (killed, left), owner() as (_, kept):
        killed.kill()
        killed.wait()
        assert left.is_dir()
        with scratch("t-tree-") as own:
            assert {path.name for path in place.iterdir()} == {kept.name, own.name}
            assert (kept / "sealed/file").read_text() == "x"
            remove_stale("t-tree-")
            assert own.is_dir(), "its own either"


def test_a_run_that_ends_leaves_nothing(place: Path) -> None:
    with owner() as (process, folder):
        assert process.stdin and folder.parent == place
        process.stdin.close()
        assert process.wait() == 0
    assert list(place.iterdir()) == []


def test_what_is_not_a_folder_of_ours_is_left_alone(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (place / "t-tree-link").symlink_to(elsewhere)
    (place / "t-tree-file").write_text("x")
    (place / "another").mkdir()
    if os.geteuid() == 0:
        (place / "t-tree-theirs").mkdir()
        os.chown(place / "t-tree-theirs", 65534, 65534)
    before = set(place.iterdir())
    remove_stale("t-tree-")
    assert set(place.iterdir()) == before and elsewhere.is_dir()
