"""Virtualenvs are built once, at their final path, from pinned texts; real python, real pip, wheels from a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from release_site import FILES, Host, make_wheel, write

from deployer.agent.operation import OpError
from deployer.artifact.dependencies.host_python import HostPython
from deployer.artifact.dependencies.resolving import find_uv

OLD, NEW = "20261101T100000Z-aaaaaaaa", "20261102T100000Z-bbbbbbbb"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    make_wheel(tmp_path / "wheels", "tinyserver", "1.2")
    make_wheel(tmp_path / "wheels", "tinydep", "0.3")
    return tmp_path / "wheels"


def spec(key: str, **more: Any) -> dict[str, Any]:
    given = {
        "key": key,
        "python": sys.executable,
        "installer": "pip",
        "requirements": ["tinyserver==1.2\ntinydep==0.3\n"],
    }
    return {**given, **more}


def test_wheels_that_came_with_the_release_are_installed_without_an_index(tmp_path: Path, wheels: Path) -> None:
    host = Host(tmp_path).set_up()
    source = write(tmp_path / "source", FILES)
    check = {"argv": [".venv/bin/python", "-c", "import tinyserver, sys; assert sys.prefix.endswith('.venv')"]}
    first = host.ship(OLD, source, wheels, venv=spec("k1", requires=["tinyserver"]), check=check)
    assert first["venv_built"]
    assert list(Path(host.site.venv("k1")).glob("lib/python*/site-packages/__pycache__/tinyserver.*.pyc"))
    assert any("Successfully installed" in line for line in host.lines())
    assert "tinyserver-1.2-py3-none-any.whl" not in os.listdir(host.site.release(OLD))

    # the same key again: no wheel is asked for, nothing is installed
    second = host.ship(NEW, source, venv=spec("k1", requires=["tinyserver"]))
    assert not second["venv_built"]

    # a server that the requirements lack
    with pytest.raises(OpError) as caught:
        host.ship("20261103T100000Z-cccccccc", source, venv=spec("k1", requires=["tinyserver", "uvicorn"]))
    assert caught.value.code == "missing_server"
    assert "with: [uvicorn]" in caught.value.hint and caught.value.detail == {"distributions": ["uvicorn"]}


def test_an_installer_that_fails_shows_its_last_lines_and_leaves_no_virtualenv(tmp_path: Path, wheels: Path) -> None:
    host = Host(tmp_path).set_up()
    source = write(tmp_path / "source", FILES)
    wrong = spec("k2", requirements=["tinyserver==9.9\n"], secrets={"TOKEN": "9.9"}, env={})
    with pytest.raises(OpError) as caught:
        host.ship(OLD, source, wheels, venv=wrong)
    assert caught.value.code == "install_failed"
    assert any("No matching distribution" in line for line in caught.value.log) and len(caught.value.log) <= 30
    assert not os.path.exists(host.site.venv("k2")) and not os.path.exists(host.site.release(OLD))


def test_a_secret_index_is_not_told(tmp_path: Path) -> None:
    host = Host(tmp_path).set_up()
    venv = spec("k3", secrets={"PIP_INDEX_URL": "http://me:tell-nobody@127.0.0.1:1/simple"})
    venv["env"] = {"PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    with pytest.raises(OpError) as caught:
        host.push(OLD, venv=venv)
    assert caught.value.code == "install_failed"
    assert "tell-nobody" not in json.dumps([caught.value.log, host.events])


def test_a_virtualenv_without_its_marker_is_built_again(tmp_path: Path) -> None:
    host = Host(tmp_path).set_up()
    none = {"key": "k", "python": sys.executable, "installer": "none"}
    host.push(OLD, venv=none)
    os.unlink(host.site.venv("k") + "/.deploy-venv.json")
    Path(host.site.venv("k"), "half-made").touch()

    assert host.push(NEW, venv=none)["venv_built"]
    assert not os.path.exists(host.site.release(NEW) + "/.venv/half-made")
    assert not os.path.exists(host.site.release(OLD) + "/.venv/half-made")


def test_a_missing_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(OpError) as caught:
        Host(tmp_path).call("venv.inspect", python="/usr/bin/python9.9")
    assert caught.value.code == "no_python"


def test_a_host_says_what_its_python_is(tmp_path: Path) -> None:
    described: Any = Host(tmp_path).call("venv.inspect", python=sys.executable)
    host = HostPython.of(described, "pip")
    assert host.version == ".".join(map(str, sys.version_info[:3]))
    assert host.same_as_here and host.markers["sys_platform"] == "linux"


def test_a_host_resolves_what_the_controller_cannot(tmp_path: Path, wheels: Path) -> None:
    host = Host(tmp_path).set_up()
    make_wheel(wheels, "tinydep", "0.4")
    loose = spec("x", requirements=["tinyserver", "tinydep"], constraints="tinydep<0.4")
    loose["env"] = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    answer = host.call("venv.resolve", venv=loose)
    assert sorted(answer["requirements"].split()) == ["tinydep==0.3", "tinyserver==1.2"]
    assert not os.path.exists(host.site.state + "/resolve")


@pytest.mark.skipif(find_uv() is None, reason="uv is not on this machine")
def test_uv_installs_and_resolves_too(tmp_path: Path, wheels: Path) -> None:
    host = Host(tmp_path).set_up()
    uv = {"installer": "uv", "uv": find_uv()}
    built = host.ship(OLD, write(tmp_path / "source", FILES), wheels, venv=spec("u1", requires=["tinydep"], **uv))
    assert built["venv_built"]
    loose = spec("x", requirements=["tinyserver"], **uv)
    loose["env"] = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    assert host.call("venv.resolve", venv=loose)["requirements"].split() == ["tinyserver==1.2"]
    version = [host.site.venv("u1") + "/bin/python", "-c", "import tinyserver; print(tinyserver.VERSION)"]
    assert subprocess.run(version, capture_output=True, text=True, check=True).stdout == "1.2\n"
