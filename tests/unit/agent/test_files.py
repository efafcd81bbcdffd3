"""Files and links that are replaced in one step: who reads sees the old or the new, and a failure leaves the old."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from deployer.agent.system import files

AGENT = Path(files.__file__).parent
# Programs that setup installs as single files, which cannot import this module.
STANDALONE = {"haproxy_reload.py", "nginx_reload.py", "caddy_reload.py"}
# These rename what is not a text of ours: a finished download, a blob, somebody's program file, and the kept secrets.
RENAMES = {"files.py", "tool.py", "incoming.py", "programs.py", "secrets.py"}


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are synced to the disk, in order."""
    paths: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: paths.append(os.readlink(f"/proc/self/fd/{fd}")))
    return paths


def test_a_file_is_synced_before_its_name_and_the_folder_after_it(tmp_path: Path, syncs: list[str]) -> None:
    path = tmp_path / "record"
    files.write(str(path), b"new", 0o640)
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    assert syncs == [f"{tmp_path}/.record.{os.getpid()}.new", str(tmp_path)]


def test_what_need_not_last_is_still_replaced_whole(tmp_path: Path, syncs: list[str]) -> None:
    path = tmp_path / "record"
    path.write_text("old")
    before = path.stat().st_ino
    files.write(str(path), b"new", 0o600, durable=False)
    assert path.read_bytes() == b"new" and path.stat().st_ino != before and syncs == []


@pytest.mark.parametrize("fails", ["fsync", "rename"])
def test_a_failure_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "record"
    path.write_text("old")

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, refuse)
    with pytest.raises(OSError, match="No space left"):
        files.write(str(path), b"new", 0o600)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["record"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("kept")
    link.symlink_to("target")
    files.write(str(link), b"new", 0o600)
    assert not link.is_symlink() and target.read_text() == "kept"
    files.replace_link(str(link), "elsewhere")
    assert os.readlink(link) == "elsewhere"


def test_what_a_crash_left_is_in_nobodys_way(tmp_path: Path, syncs: list[str]) -> None:
    (tmp_path / f".link.{os.getpid()}.new").symlink_to("half")
    (tmp_path / f".record.{os.getpid()}.new").write_text("half")
    files.replace_link(str(tmp_path / "link"), "target")
    files.write(str(tmp_path / "record"), b"new", 0o600)
    assert sorted(os.listdir(tmp_path)) == ["link", "record"]
    assert syncs[0] == str(tmp_path), "a link has no content, its folder has its name"


def test_a_folder_in_the_way_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace_link(str(tmp_path / "link"), "target")
    assert os.listdir(tmp_path) == ["link"]


def test_removing_says_whether_there_was_something(tmp_path: Path, syncs: list[str]) -> None:
    (tmp_path / "record").touch()
    assert files.remove(str(tmp_path / "record")) and syncs == [str(tmp_path)]
    assert not files.remove(str(tmp_path / "record"))


def test_nobody_else_in_the_agent_replaces_a_file_by_hand() -> None:
    by_hand = [
        f"{path.name}:{node.lineno}"
        for path in sorted(AGENT.glob("**/*.py"))
        if path.name not in STANDALONE | RENAMES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("rename", "replace")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    assert not by_hand, "use deployer.agent.system.files: " + ", ".join(by_hand)
