"""A file system that refuses: its own words for no room, no inodes and read-only, and never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import supervised
from release_site import Host

from deployer.agent.channel import session
from deployer.agent.operation import OpError
from deployer.agent.site import ledger, write_access
from deployer.agent.system import disk, procfs

RELEASE = "20240101T000000Z-aaaaaaaa"


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own in memory; the test is skipped where this machine mounts none."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [("size=200m,nr_inodes=40", "has too few inodes"), ("size=4m", "the disk is full: the release needs")],
)
def test_a_release_that_does_not_fit_says_what_is_missing(tmp_path: Path, options: str, words: str) -> None:
    host = Host(tmp_path / "host")
    (tmp_path / "host").mkdir()
    with mounted(tmp_path / "host", options):
        host.set_up()
        with pytest.raises(OpError, match=words) as caught:
            host.push(RELEASE)
        assert caught.value.code == "no_space" and "make room" in caught.value.hint


def test_inodes_that_run_out_are_named(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=100m,nr_inodes=10"):
        with pytest.raises(OSError) as caught:
            for number in range(20):
                (tmp_path / "small" / str(number)).touch()
        known = disk.explain(caught.value, "release.build")
    assert known is not None and known.code == "no_space"
    assert "no inodes are left" in known.message and "MB are free" in known.message


def test_a_read_only_file_system_is_named_without_a_traceback(tmp_path: Path) -> None:
    with mounted(tmp_path / "ro", "ro"):
        with pytest.raises(OSError) as caught:
            (tmp_path / "ro" / "file").touch()
        told = session._fault("site.promote", caught.value)
    assert told["code"] == "read_only" and told["log"] == [] and told["hint"]
    assert told["message"].startswith(f"{tmp_path}/ro/file is on a read-only file system")


def test_a_mount_point_where_releases_arrive_is_named_by_its_path(tmp_path: Path) -> None:
    host = Host(tmp_path / "host")
    host.set_up()
    incoming = Path(host.site.incoming)
    incoming.mkdir(parents=True)
    assert write_access.unwritable(host.site) == []
    with mounted(incoming, "size=1m"):
        with pytest.raises(OSError) as caught:
            host.push(RELEASE)
        answer = session._fault("release.begin", caught.value)
        assert write_access.unwritable(host.site) == [
            {"path": str(incoming), "why": "it is a mount point, and a push removes it"}
        ]
    assert answer["code"] == "path_blocked" and answer["log"] == [] and f"findmnt -T {incoming}" in answer["hint"]
    assert answer["message"].startswith(f"{incoming} cannot be used (Device or resource busy)")


@pytest.mark.parametrize("name", ["releases", "venvs", "state", "shared"])
def test_a_folder_that_a_push_could_not_write_is_seen_without_writing(tmp_path: Path, name: str) -> None:
    host = Host(tmp_path / "host")
    host.set_up()
    folder = Path(getattr(host.site, name))
    folder.mkdir(exist_ok=True)
    with mounted(folder, "ro"):
        seen = write_access.unwritable(host.site)
    assert seen == [{"path": str(folder), "why": "it is on a read-only file system"}]


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EIO])
def test_other_refusals_have_words_of_their_own(tmp_path: Path, number: int) -> None:
    known = disk.explain(OSError(number, os.strerror(number), str(tmp_path / "file")), "release.build")
    assert known is not None and str(tmp_path) in known.message


def test_an_error_that_is_not_about_the_disk_stays_a_fault() -> None:
    assert disk.explain(OSError(errno.ECONNREFUSED, "refused"), "x") is None
    assert session._fault("x", KeyError("k"))["code"] == "internal"


def _read_only(*_: object) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/srv/shop/.deploy/ledger.jsonl")


def test_a_switch_that_cannot_write_its_intent_down_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with supervised.world() as world:
        first, second = world.release("20240101T000000Z-aaaaaaaa"), world.release("20240102T000000Z-bbbbbbbb")
        (pid,) = world.switch(first)["pids"]
        append: Callable[..., object] = ledger.append
        monkeypatch.setattr(ledger, "append", _read_only)
        with pytest.raises(OpError) as caught:
            world.switch(second, previous=first)
        monkeypatch.setattr(ledger, "append", append)
        assert caught.value.code == "read_only"
        assert caught.value.detail == {"restored": True, "serving": first}
        assert procfs.process(pid) is not None and world.proof(first)["pids"] == [pid]
