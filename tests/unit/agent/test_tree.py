"""Trees are removed as they were looked at, whatever a process that a hook left running makes of them meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.system import tree


def test_a_folder_that_becomes_a_link_while_its_tree_is_removed_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "inner").mkdir(parents=True, mode=0o755)
    (root / "a/inner").mkdir(parents=True)
    open_file = os.open

    def swapping(path: Any, *args: Any, **options: Any) -> int:
        if str(path).endswith("inner") and not (root / "a").is_symlink():
            (root / "a").rename(root / "b")
            (root / "a").symlink_to(outside)
        return open_file(path, *args, **options)

    monkeypatch.setattr(os, "open", swapping)
    assert tree.remove(str(root))
    assert not root.exists() and (outside / "inner").stat().st_mode & 0o777 == 0o755


def test_read_only_folders_are_removed_too(tmp_path: Path) -> None:
    inner = tmp_path / "root/a/b"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    for folder in (inner, inner.parent, inner.parent.parent):
        folder.chmod(0o555)
    assert tree.remove(str(tmp_path / "root")) and not tree.remove(str(tmp_path / "root"))
