"""Manifests and the stream: what may be shipped, what may not, and how it travels."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from deployer.agent.model.manifest import Manifest
from deployer.artifact import manifest
from deployer.errors import UsageError
from deployer.settings.patterns import Exclude


def test_a_manifest_says_what_every_path_is_and_survives_its_json_form(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/mod.py").write_text("x")
    (tmp_path / "tool").write_text("#!")
    (tmp_path / "tool").chmod(0o700)
    (tmp_path / "pkg/up").symlink_to("../tool")
    (tmp_path / "naïve name.txt").write_text("é")
    made = manifest.scan(tmp_path)

    assert (made.files["tool"].mode, made.files["pkg/mod.py"].mode) == (0o755, 0o644)
    assert made.files["pkg/mod.py"].sha256 == hashlib.sha256(b"x").hexdigest()
    assert made.files["pkg/up"].target == "../tool"
    assert Manifest.from_bytes(made.as_bytes()) == made
    before = manifest.digest(made)
    (tmp_path / "tool").chmod(0o644)
    assert manifest.digest(manifest.scan(tmp_path)) != before


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "pkg/../../outside", "pkg/../tool"])
def test_a_link_that_leaves_the_source_is_named(tmp_path: Path, target: str) -> None:
    (tmp_path / "bad").symlink_to(target)
    with pytest.raises(UsageError) as caught:
        manifest.scan(tmp_path)
    assert "bad" in str(caught.value) and target in str(caught.value)
    assert manifest.scan(tmp_path, ("bad",)).files == {}


def test_everything_that_cannot_be_shipped_is_named_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "run").write_text("{}")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).touch()
    with pytest.raises(UsageError) as caught:
        manifest.scan(tmp_path)
    for word in ("pipe", "run: deploy itself", "caf\\xe9", "not UTF-8", "3 path"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "path", "folder", "expected"),
    [
        ("tests/", "tests", True, True),
        ("tests/", "a/tests", True, True),
        ("tests/", "tests", False, False),
        ("*.log", "a/b/x.log", False, True),
        ("/docs", "docs", True, True),
        ("/docs", "a/docs", True, False),
        ("a/*.txt", "a/x.txt", False, True),
        ("a/*.txt", "a/b/x.txt", False, False),
        ("a/**/x", "a/x", False, True),
        ("a/**/x", "a/b/c/x", False, True),
        ("file[0-9].py", "file7.py", False, True),
        ("file[!0-9].py", "file7.py", False, False),
        ("a.c", "abc", False, False),
    ],
)
def test_exclude_patterns(pattern: str, path: str, folder: bool, expected: bool) -> None:
    assert Exclude([pattern])(path, folder) is expected


def test_the_stream_holds_the_missing_blobs_once_each(tmp_path: Path) -> None:
    for name, text in (("a", "same"), ("b", "same"), ("c", "other"), ("d", "")):
        (tmp_path / name).write_text(text)
    made = manifest.scan(tmp_path)
    wanted = {made.files["a"].sha256, made.files["d"].sha256}
    data = b"".join(manifest.pack(made, wanted, tmp_path))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        assert {member.name: member.size for member in archive} == {
            made.files["a"].sha256: 4,
            made.files["d"].sha256: 0,
        }


def test_a_large_file_streams_in_bounded_chunks_and_memory(tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        for _ in range(48):
            file.write(os.urandom(1 << 20))
    made = manifest.scan(tmp_path)
    tracemalloc.start()
    sizes = [len(chunk) for chunk in manifest.pack(made, list(made.blobs()), tmp_path)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(sizes) <= manifest.CHUNK and set(sizes[:-1]) == {manifest.CHUNK}
    assert peak < 8 << 20


@pytest.mark.parametrize("now", ["grown", "s"])
def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path, now: str) -> None:
    (tmp_path / "a").write_text("start")
    made = manifest.scan(tmp_path)
    (tmp_path / "a").write_text(now)
    with pytest.raises(UsageError, match="changed while"):
        list(manifest.pack(made, list(made.blobs()), tmp_path))
