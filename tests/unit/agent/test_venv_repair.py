"""A damaged virtualenv is found without starting a program, and built again beside what serves. Real virtualenvs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from release_site import FILES, Host, make_wheel, write

from deployer.agent.dependencies import venv_integrity
from deployer.agent.operation import OpError
from deployer.agent.system import process_runner

OLD, NEW, LAST = "20261101T100000Z-aaaaaaaa", "20261102T100000Z-bbbbbbbb", "20261103T100000Z-cccccccc"
KEY = f"py{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}-0123456789abcdef-none"
PURELIB = f"lib/python{sysconfig.get_python_version()}/site-packages"


def no_folder(venv: Path) -> None:
    shutil.rmtree(venv)


def no_marker(venv: Path) -> None:
    (venv / venv_integrity.MARKER).unlink()


def dangling_interpreter(venv: Path) -> None:
    (venv / "bin/python").unlink()
    (venv / "bin/python").symlink_to("/usr/bin/python3.99")


def other_interpreter(venv: Path) -> None:
    other = venv.parent / "python3.98"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    (venv / "bin/python").unlink()
    (venv / "bin/python").symlink_to(other)


def no_module(venv: Path) -> None:
    (venv / PURELIB / "tinyserver.py").unlink()


def no_package(venv: Path) -> None:
    (venv / PURELIB / "tinypackage/__init__.py").unlink()


def no_configuration(venv: Path) -> None:
    (venv / "pyvenv.cfg").unlink()


def no_submodule(venv: Path) -> None:
    (venv / PURELIB / "tinypackage/deep/inner.py").unlink()


def no_subpackage(venv: Path) -> None:
    shutil.rmtree(venv / PURELIB / "tinypackage/deep")


def empty_module(venv: Path) -> None:
    (venv / PURELIB / "tinyserver.py").write_text("")


def no_metadata(venv: Path) -> None:
    shutil.rmtree(venv / PURELIB / "tinydep-0.3.dist-info")


def no_program(venv: Path) -> None:
    (venv / "bin/python3").unlink()


DAMAGES = [
    no_folder,
    no_marker,
    dangling_interpreter,
    other_interpreter,
    no_module,
    no_package,
    no_metadata,
    no_program,
    no_configuration,
    no_submodule,
    no_subpackage,
    empty_module,
]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path).set_up()
    push(host, OLD)
    return host


def push(host: Host, release: str, **more: Any) -> dict[str, Any]:
    spec = {"key": KEY, "python": sys.executable, "installer": "none", "requirements": [], **more}
    return host.push(release, venv=spec, meta={"requirements": []})


def survey(host: Host, release: str) -> dict[str, Any]:
    facts = host.call("host.survey")["releases"]
    return dict(next(each for each in facts if each["id"] == release))


def runs(host: Host, release: str) -> bool:
    code = f"import sys; assert sys.prefix == {host.site.release(release) + '/.venv'!r}"
    return process_runner.run([host.site.release(release) + "/.venv/bin/python", "-c", code], timeout=60).ok


def test_every_damage_is_found_without_starting_a_program(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    venv = Path(host.site.venv(KEY))
    (venv / PURELIB / "tinydep-0.3.dist-info").mkdir()
    (venv / PURELIB / "tinypackage/deep").mkdir(parents=True)
    for name in ("tinyserver.py", "tinypackage/__init__.py", "tinypackage/deep/inner.py"):
        (venv / PURELIB / name).write_text("pass\n")
    (venv / venv_integrity.MARKER).write_text(json.dumps(venv_integrity.describe(str(venv))))
    whole = shutil.copytree(venv, host.folder / "whole", symlinks=True)
    monkeypatch.setattr(process_runner, "run", lambda *args, **options: pytest.fail("it starts a program"))
    found = {}
    for damage in DAMAGES:
        assert venv_integrity.damage(str(venv)) == ""
        damage(venv)
        found[damage.__name__] = venv_integrity.damage(str(venv))
        shutil.rmtree(venv, ignore_errors=True)
        shutil.copytree(whole, venv, symlinks=True)
    assert all(found.values()), found
    assert found["no_module"] == f"{PURELIB}/tinyserver.py is missing"
    assert "python3.99 is missing" in found["dangling_interpreter"]
    assert found["no_submodule"] == f"{PURELIB}/tinypackage has 1 of 2 files"
    assert found["empty_module"] == f"{PURELIB}/tinyserver.py has 0 of 5 bytes"


def test_the_marker_of_an_earlier_version_is_still_heeded(host: Host) -> None:
    venv = Path(host.site.venv(KEY))
    (venv / PURELIB / "tinypackage").mkdir()
    (venv / PURELIB / "tinypackage/__init__.py").write_text("pass\n")
    entries = ["bin/python3", f"{PURELIB}/tinypackage", f"{PURELIB}/tinypackage/__init__.py"]
    (venv / venv_integrity.MARKER).write_text(json.dumps({"entries": entries}))
    assert venv_integrity.damage(str(venv)) == ""
    (venv / PURELIB / "tinypackage/__init__.py").unlink()
    assert venv_integrity.damage(str(venv)) == f"{PURELIB}/tinypackage/__init__.py is missing"


def test_what_is_added_to_a_virtualenv_is_no_damage(host: Host) -> None:
    """Bytecode, and data that a package keeps beside its code."""
    venv = Path(host.site.venv(KEY))
    (venv / PURELIB / "tinypackage").mkdir()
    (venv / PURELIB / "tinypackage/__init__.py").write_text("pass\n")
    (venv / venv_integrity.MARKER).write_text(json.dumps(venv_integrity.describe(str(venv))))
    (venv / PURELIB / "tinypackage/__pycache__").mkdir()
    (venv / PURELIB / "tinypackage/__pycache__/__init__.cpython-311.pyc").write_bytes(b"x" * 100)
    assert venv_integrity.damage(str(venv)) == ""
    (venv / PURELIB / "tinypackage/cache.json").write_text("{}")
    (venv / "bin/extra").write_text("")
    assert venv_integrity.damage(str(venv)) == ""
    shutil.rmtree(venv / PURELIB / "tinypackage/__pycache__")
    assert venv_integrity.damage(str(venv)) == ""


@pytest.mark.parametrize("damage", [no_folder, no_marker, dangling_interpreter])
def test_a_damaged_virtualenv_is_built_again_beside_it(host: Host, damage: Callable[[Path], None]) -> None:
    assert survey(host, OLD)["damage"] == "" and runs(host, OLD)
    damage(Path(host.site.venv(KEY)))
    found = survey(host, OLD)
    assert found["damage"] and found["repairable"] is True
    was = sorted(os.listdir(host.site.venvs))

    assert host.call("repair.venv", release=OLD)["built"] is True
    assert survey(host, OLD)["damage"] == "" and runs(host, OLD)
    assert set(was) <= set(os.listdir(host.site.venvs)), "what processes may still run from stays until it is pruned"
    assert os.stat(host.site.release(OLD)).st_mode & 0o222 == 0
    assert host.call("repair.venv", release=OLD)["built"] is False


def test_a_new_release_with_the_same_dependencies_mends_the_earlier_one_too(host: Host) -> None:
    dangling_interpreter(Path(host.site.venv(KEY)))
    assert push(host, NEW)["venv_built"]
    assert [survey(host, release)["damage"] for release in (OLD, NEW)] == ["", ""]
    assert os.readlink(host.site.release(OLD) + "/.venv") == os.readlink(host.site.release(NEW) + "/.venv")
    assert host.call("release.prune", keep=5, protect=[OLD, NEW])["venvs"] == [KEY]
    assert runs(host, OLD) and runs(host, NEW)
    assert not push(host, LAST)["venv_built"]


def test_a_failed_repair_leaves_the_link_as_it_was(host: Host) -> None:
    (Path(host.site.venv(KEY)) / "bin/python3").unlink()
    marker = Path(host.site.marker(OLD))
    text = json.loads(marker.read_text())
    marker.chmod(0o644)
    marker.write_text(json.dumps({**text, "install": {**text["install"], "requires": ["no-such-server"]}}))
    with pytest.raises(OpError) as caught:
        host.call("repair.venv", release=OLD)
    assert caught.value.code == "missing_server"
    assert os.listdir(host.site.venvs) == [KEY] == [os.path.basename(os.readlink(host.site.release(OLD) + "/.venv"))]


def test_what_was_built_from_wheels_or_for_a_python_that_is_gone_is_not_repairable(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "tinyserver", "1.2")
    host = Host(tmp_path).set_up()
    source = write(tmp_path / "source", FILES)
    spec = {"key": KEY, "python": sys.executable, "installer": "none", "requirements": []}
    host.ship(OLD, source, tmp_path / "wheels", venv=spec, meta={"requirements": []})
    push(host, NEW, key="py3.4.1-0123-none")
    for release in (OLD, NEW):
        no_marker(Path(os.path.realpath(host.site.release(release) + "/.venv")))
        found = survey(host, release)
        assert found["damage"] == "its marker is missing" and found["repairable"] is False
        with pytest.raises(OpError) as caught:
            host.call("repair.venv", release=release)
        assert caught.value.code == "not_repairable"
