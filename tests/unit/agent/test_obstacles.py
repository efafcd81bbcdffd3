"""Something else where setup or push need a folder: one error with the path, what is there, and what to type."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from release_site import Host

from deployer.agent.channel import session
from deployer.agent.operation import OpError
from deployer.agent.site import links
from deployer.agent.system import disk

RELEASE = "20240101T000000Z-aaaaaaaa"


def dangling(path: Path) -> None:
    path.symlink_to("/nowhere/media")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def file(path: Path) -> None:
    path.write_text("here")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    """The path of a socket has little room, so it is bound by a short one."""
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def link_to_file(path: Path) -> None:
    path.with_name("other").write_text("here")
    path.symlink_to(path.with_name("other"))


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "dangling link": (dangling, "a link to /nowhere/media, where nothing is"),
    "loop of links": (loop, "which leads back to itself"),
    "file": (file, "a file"),
    "named pipe": (pipe, "a named pipe"),
    "socket": (listening, "a socket"),
    "link to a file": (link_to_file, "which is a file"),
}


def error_of(work: Callable[[], object]) -> dict[str, Any] | None:
    """What the controller is told when an operation fails."""
    try:
        work()
    except OpError as error:
        return error.as_dict()
    except Exception as error:
        return session._fault("release.build", error)
    return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("below", ["", "/uploads"])
def test_setup_refuses_it_before_anything_is_changed(tmp_path: Path, kind: str, below: str) -> None:
    make, words = KINDS[kind]
    host = Host(tmp_path).set_up()
    media = Path(host.site.shared) / "media"
    media.parent.mkdir()
    make(media)
    folders = [{"kind": "directory", "path": f"{host.site.shared}/{name}"} for name in ("first", f"media{below}")]
    answer = host.call("resource.apply", resources=folders, dry_run=True)
    (refusal,) = answer["refused"]
    assert refusal["name"] == f"{media}{below}" and refusal["why"].startswith(f"{media} is ")
    assert words in refusal["why"] and f"ls -ld {media} " in refusal["hint"] and "{env}" in refusal["hint"]
    with pytest.raises(OpError, match="has to be a folder") as caught:
        host.call("resource.apply", resources=folders)
    assert caught.value.code == "refused" and not (media.parent / "first").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["releases", "venvs", "slots", "shared", "shared/media", ".deploy", "processes"])
def test_no_operation_of_a_push_fails_with_the_words_of_the_kernel_alone(tmp_path: Path, kind: str, place: str) -> None:
    make, _ = KINDS[kind]
    host = Host(tmp_path).set_up()
    spot = Path(host.site.root) / place
    spot.parent.mkdir(exist_ok=True)
    make(spot)
    errors = [
        error_of(lambda: host.call("lock.take", run="r", who="me@here", wait=0)),
        error_of(lambda: host.call("secrets.write", b"export A='1'\n")),
        error_of(lambda: host.push(RELEASE, shared=["media/"], shared_folders=["media"])),
        error_of(lambda: links.point_slot(host.site, 8000, RELEASE)),
        error_of(lambda: links.point_process(host.site, "worker@1", RELEASE)),
        error_of(lambda: host.call("site.note_plan", run="r", plan={})),
        error_of(lambda: host.call("site.note_begin", run="r", who="me", command="push", release=None)),
    ]
    raw = [error for error in errors if error and (error["code"] == "internal" or "Errno" in error["message"])]
    assert raw == []
    told = [error for error in errors if error]
    assert all(str(spot) in error["message"] for error in told), told
    gives_way = place == "shared/media" and kind in ("dangling link", "loop of links")  # a link of the app's own
    if not gives_way:
        assert told, "the case is a real one"


@pytest.mark.parametrize("number", sorted({*disk._BLOCKED, *disk._FORBIDDEN, *disk.FULL, errno.EROFS, errno.EIO}))
def test_every_refusal_of_a_path_names_it_and_a_command(tmp_path: Path, number: int) -> None:
    told = session._fault("release.build", OSError(number, os.strerror(number), str(tmp_path / "a b")))
    assert told["code"] != "internal" and str(tmp_path) in told["message"] and "Errno" not in told["message"]
    assert told["hint"].startswith("deploy exec {env} -l {host} -- ") and told["log"] == []
