"""A program comes to a host whole, tried, once; what does not run there leaves nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from release_site import Host

from deployer.agent import operation
from deployer.agent.dependencies import tools
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError
from deployer.agent.system import host_facts
from deployer.artifact.dependencies.uv_binary import uv_here

WORKS = b"#!/bin/sh\necho uv 1.0\n"
FAILS = b"#!/bin/sh\necho 'version GLIBC_2.99 not found' >&2\nexit 1\n"


class Prefixed(Host):
    """A host whose own folders lie below the test's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.wire = replace(self.site, prefix=str(folder)).to_wire()
        (folder / "var/lib").mkdir(parents=True, exist_ok=True)
        self.set_up()

    def call(self, name: str, body: bytes | Iterator[bytes] = b"", /, **args: Any) -> dict[str, Any]:
        chunks = iter([body]) if isinstance(body, bytes) else body
        response: dict[str, Any] = operation.find(name)(
            Context(emit=self.emit, body=chunks), {"site": self.wire, **args}
        )
        return response

    def left(self) -> list[str]:
        """Every file below the shared state."""
        top = self.folder / "var/lib/deploy"
        return sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir())


def named(content: bytes, version: str = "1.0") -> dict[str, str]:
    return {"name": "uv", "version": version, "sha": hashlib.sha256(content).hexdigest()}


def test_a_program_comes_once_and_is_found_again(tmp_path: Path) -> None:
    host = Prefixed(tmp_path)
    assert host.call("tool.has", **named(WORKS)) == {"path": None, "needed": True}
    packed = gzip.compress(WORKS)
    path = host.call("tool.put", iter([packed[:9], packed[9:]]), **named(WORKS))["path"]
    assert path == f"{tmp_path}/var/lib/deploy/uv/1.0-{named(WORKS)['sha'][:12]}/uv"
    assert os.stat(path).st_mode & 0o7777 == 0o755
    assert subprocess.run([path], capture_output=True, text=True, check=True).stdout == "uv 1.0\n"
    assert host.call("tool.has", **named(WORKS)) == {"path": path, "needed": True}
    assert host.call("tool.has", **named(WORKS, "1.1"))["path"] is None
    assert len(host.left()) == 1


@pytest.mark.parametrize(
    ("content", "body", "code"),
    [
        (FAILS, gzip.compress(FAILS), "does_not_run"),
        (b"\x7fELF of no machine", gzip.compress(b"\x7fELF of no machine"), "does_not_run"),
        (WORKS, gzip.compress(WORKS)[:-12], "corrupt"),
        (WORKS, gzip.compress(FAILS), "corrupt"),
        (WORKS, b"no gzip at all", "corrupt"),
    ],
    ids=["it fails", "it is for another machine", "it was cut off", "it is something else", "it is not packed"],
)
def test_what_does_not_run_or_is_not_whole_leaves_nothing(
    tmp_path: Path, content: bytes, body: bytes, code: str
) -> None:
    host = Prefixed(tmp_path)
    with pytest.raises(OpError) as caught:
        host.call("tool.put", body, **named(content))
    assert caught.value.code == code
    assert host.left() == [] and host.call("tool.has", **named(content))["path"] is None
    if content == FAILS:
        assert caught.value.log == ["version GLIBC_2.99 not found"]


def test_two_controllers_bring_the_same_at_once(tmp_path: Path) -> None:
    host = Prefixed(tmp_path)
    both = threading.Barrier(2)
    paths: list[str] = []

    def slowly() -> Iterator[bytes]:
        packed = gzip.compress(WORKS)
        yield packed[:9]
        both.wait(timeout=30)
        yield packed[9:]

    def bring() -> None:
        paths.append(host.call("tool.put", slowly(), **named(WORKS))["path"])

    threads = [threading.Thread(target=bring) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 2 and len(set(paths)) == 1 and len(host.left()) == 1


def test_three_versions_stay_the_ones_that_were_wanted_last(tmp_path: Path) -> None:
    host = Prefixed(tmp_path)
    for number in range(4):
        version = f"1.{number}"
        path = host.call("tool.put", gzip.compress(WORKS), **named(WORKS, version))["path"]
        os.utime(os.path.dirname(path), (1000 + number, 1000 + number))
        host.call("tool.has", **named(WORKS, "1.0"))  # one controller stays with the first
    kept = [name.split("-")[0].removeprefix("uv/") for name in host.left()]
    assert kept == ["1.0", "1.2", "1.3"]


@pytest.mark.parametrize("wrong", [{"name": "../uv"}, {"version": "1/../.."}, {"version": ""}, {"sha": "abc"}])
def test_no_name_leads_out_of_its_folder(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(OpError) as caught:
        Prefixed(tmp_path).call("tool.put", gzip.compress(WORKS), **{**named(WORKS), **wrong})
    assert caught.value.code == "invalid"


def test_a_place_that_cannot_be_written_is_not_called_a_full_disk(tmp_path: Path) -> None:
    host = Prefixed(tmp_path)
    (tmp_path / "var/lib/deploy").mkdir()
    (tmp_path / "var/lib/deploy/uv").write_text("somebody's own file")
    with pytest.raises(OpError) as caught:
        host.call("tool.put", gzip.compress(WORKS), **named(WORKS))
    assert caught.value.code == "not_written"
    assert host.left() == ["uv"]


def test_a_complete_virtualenv_needs_no_program(tmp_path: Path) -> None:
    host = Prefixed(tmp_path)
    folder = Path(host.site.venv("k1"))
    folder.mkdir(parents=True)
    assert host.call("tool.has", venv="k1", **named(WORKS))["needed"]
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(sys.executable)
    (folder / "pyvenv.cfg").touch()
    (folder / ".deploy-venv.json").write_text("{}")
    assert not host.call("tool.has", venv="k1", **named(WORKS))["needed"]


def test_the_real_uv_is_given_and_found_by_who_looks_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = uv_here()
    assert uv is not None
    host = Prefixed(tmp_path)
    monkeypatch.setattr(host_facts, "search_path", lambda site: [])  # a host without a uv of its own
    site = Site.of({"site": host.wire})
    assert tools.find_uv(site) is None
    path = host.call("tool.put", uv.packed, name=uv.name, version=uv.version, sha=uv.sha256)["path"]
    assert tools.find_uv(site) == path
    assert Path(path).read_bytes() == uv.path.read_bytes()
