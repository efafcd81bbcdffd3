"""Where the tool keeps what it can make again."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.cache import cache
from deployer.lab.place import Place


def test_the_users_word_counts_where_it_is_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache() == tmp_path / ".cache/deployer"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert cache() == tmp_path / "mine/deployer"
    assert Place.of("lab").folder == cache() / "lab/lab"
