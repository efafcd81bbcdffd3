"""The uv beside this program: what it is, and which hosts can run it."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import subprocess

import pytest

from deployer.artifact.dependencies import python
from deployer.artifact.dependencies.host_python import HostPython
from deployer.artifact.dependencies.uv_binary import UvBinary, uv_here

DEBIAN = HostPython("/usr/bin/python3.11", "3.11.2", "cpython", "cpython-311", "x86_64", "glibc 2.36", "none")


@pytest.fixture
def uv() -> UvBinary:
    found = uv_here()
    assert found is not None, "uv is a dependency of this project"
    return found


def test_it_is_the_executable_that_its_package_says_it_is(uv: UvBinary) -> None:
    said = subprocess.run([uv.path, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[:2] == ["uv", uv.version]
    assert gzip.decompress(uv.packed) == uv.path.read_bytes()
    assert uv.name == "uv" and uv.sha256 == hashlib.sha256(uv.path.read_bytes()).hexdigest()


def test_it_runs_on_the_libc_and_architecture_of_its_wheel_only(uv: UvBinary) -> None:
    made = dataclasses.replace(uv, platforms=frozenset({"manylinux_2_17_x86_64", "manylinux2014_x86_64"}))
    bullseye = dataclasses.replace(DEBIAN, libc="glibc 2.31")
    assert made.runs_on(DEBIAN) and made.runs_on(bullseye)
    assert not made.runs_on(dataclasses.replace(DEBIAN, arch="aarch64"))
    assert not made.runs_on(dataclasses.replace(DEBIAN, libc="musl"))
    newer = dataclasses.replace(uv, platforms=frozenset({"manylinux_2_34_x86_64"}))
    assert newer.runs_on(DEBIAN) and not newer.runs_on(bullseye)
    mac = dataclasses.replace(uv, platforms=frozenset({"macosx_11_0_arm64"}))
    assert not mac.runs_on(DEBIAN)


def test_another_installer_makes_another_virtualenv_of_the_same_versions() -> None:
    by_uv = python.Locked("py3.11.2-0123-uv", ("web==1\n",), "", dataclasses.replace(DEBIAN, installer="uv"), ())
    by_pip = by_uv.installed_by("pip")
    assert (by_pip.key, by_pip.requirements, by_pip.host.installer) == ("py3.11.2-0123-pip", ("web==1\n",), "pip")
    assert by_uv.installed_by("uv", "/given/uv").spec()["uv"] == "/given/uv"
    assert by_uv.installed_by("uv", "/given/uv").key == by_uv.key
