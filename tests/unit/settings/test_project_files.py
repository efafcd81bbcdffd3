"""`pyproject.toml` and lock files with values of the wrong type: one error with file and line."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deployer.artifact.dependencies import lockfiles, python
from deployer.errors import SettingsError
from deployer.settings.inference.requirements import read_requirements
from deployer.settings.init.init import app_name
from deployer.settings.models import Python

PROJECT = '[project]\nname = "shop"\nversion = "1"\n'
WRONG = [
    (PROJECT + 'dependencies = "six"\n', 4, "project.dependencies must be a list", "it is the text 'six'"),
    (PROJECT + "dependencies = 1\n", 4, "project.dependencies must be a list", "it is the number 1"),
    (PROJECT + "dependencies = [1]\n", 4, "project.dependencies[0] must be a text", "the number 1"),
    (PROJECT + 'dependencies = ["six", ["x"]]\n', 4, "project.dependencies[1] must be a text", "a list"),
    (
        PROJECT + 'optional-dependencies = {web = "gunicorn"}\n',
        4,
        "optional-dependencies.web must be a list",
        "gunicorn",
    ),
    (
        PROJECT + '\n[project.optional-dependencies]\na = []\nweb = "gunicorn"\n',
        7,
        "optional-dependencies.web",
        "'gunicorn'",
    ),
    (PROJECT + "optional-dependencies = []\n", 4, "optional-dependencies must be a table", "a list"),
    (PROJECT + '[dependency-groups]\ndev = "pytest"\n', 5, "dependency-groups.dev must be a list", "'pytest'"),
    (PROJECT + "[dependency-groups]\ndev = [{include = 'x'}]\n", 5, "dependency-groups.dev[0] must be", "a table"),
    (PROJECT + "[dependency-groups]\ndev = [{include-group = 5}]\n", 5, "dependency-groups.dev[0] must be", "a table"),
    ("[project]\nname = 5\n", 2, "project.name must be a text", "the number 5"),
    (PROJECT + "requires-python = 3.11\n", 4, "project.requires-python must be a text", "the number 3.11"),
    (PROJECT + "scripts = ['shop']\n", 4, "project.scripts must be a table", "a list"),
    (PROJECT + "[project.scripts]\nshop = true\n", 5, "project.scripts.shop must be a text", "the truth value True"),
    (PROJECT + "[build-system]\nrequires = 'setuptools'\n", 5, "build-system.requires must be a list", "'setuptools'"),
    ("project = 'shop'\n", 1, "project must be a table", "'shop'"),
    ("[[project]]\nname = 'shop'\n", 1, "project must be a table", "a list"),
    ("tool = 1\n", 1, "tool must be a table", "the number 1"),
    (PROJECT + "[tool]\npoetry = 'x'\n", 5, "tool.poetry must be a table", "'x'"),
    (PROJECT + "[tool.poetry]\ndependencies = ['x']\n", 5, "tool.poetry.dependencies must be a table", "a list"),
    (PROJECT + "dependencies = 2020-01-01\n", 4, "project.dependencies must be a list", "a date or time"),
]


@pytest.mark.parametrize(("text", "line", "message", "cause"), WRONG)
def test_a_wrong_type_in_pyproject_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, message: str, cause: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    for read in (lambda: read_requirements(tmp_path), lambda: python.read(tmp_path, Python())):
        with pytest.raises(SettingsError) as caught:
            read()
        assert (caught.value.file, caught.value.line) == ("pyproject.toml", line)
        assert message in caught.value.message and cause in str(caught.value.cause)


UV = "version = 1\n"
LOCKS = [
    ("uv.lock", "version = 1\npackage = {}\n", 2, "package must be a list of tables"),
    ("uv.lock", "version = 1\npackage = [5]\n", 2, "package[0] must be a table"),
    ("uv.lock", "version = '1'\n", 1, "version must be a whole number"),
    ("uv.lock", UV + "[[package]]\nversion = '1'\n", 2, "package[0].name is missing"),
    (
        "uv.lock",
        UV + "[[package]]\nname='a'\n[[package]]\nname='b'\ndependencies = 5\n",
        6,
        "package[1].dependencies",
    ),
    (
        "uv.lock",
        UV + "[[package]]\nname='a'\ndependencies = [{}]\n",
        4,
        "dependencies[0].name is missing",
    ),
    ("uv.lock", UV + "[[package]]\nname='a'\nsource = 'x'\n", 4, "package[0].source must be a table"),
    (
        "uv.lock",
        UV + "[[package]]\nname='a'\nwheels = [{hash = 5}]\n",
        4,
        "wheels[0].hash must be a text",
    ),
    ("pylock.toml", "packages = 'x'\n", 1, "packages must be a list of tables"),
    ("pylock.toml", "[[packages]]\nname = 'a'\nmarker = 5\n", 3, "packages[0].marker must be a text"),
    (
        "pylock.toml",
        "[[packages]]\nname = 'a'\nwheels = [{hashes = []}]\n",
        3,
        "wheels[0].hashes must be a table",
    ),
    ("pylock.toml", "[[packages]]\nname = 'a'\nvcs = {type = 'git'}\n", 3, "packages[0].vcs.url is missing"),
]


@pytest.mark.parametrize(("name", "text", "line", "message"), LOCKS)
def test_a_wrong_type_in_a_lock_file_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, line: int, message: str
) -> None:
    (tmp_path / name).write_text(text)
    read = {"uv.lock": lambda: lockfiles.uv_lock(text, "shop", {}), "pylock.toml": lambda: lockfiles.pylock(text, {})}
    for attempt in (lambda: read_requirements(tmp_path), read[name]):
        with pytest.raises(SettingsError) as caught:
            attempt()
        assert (caught.value.file, caught.value.line) == (name, line)
        assert message in caught.value.message


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock", "pylock.toml"])
@pytest.mark.parametrize("content", [b"x = " + b"[" * 20_000, b"caf\xe9 = 1", b"\0", b"a = 1\na = 2", b"\xff\xfea\0"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (lambda: read_requirements(tmp_path), lambda: _all_of(tmp_path)):
        with pytest.raises(SettingsError) as caught:
            read()
        assert caught.value.file == name
    assert app_name(tmp_path)


def _all_of(folder: Path) -> None:
    found = python.read(folder, Python())
    for name, text in found.files.items():
        if name == "uv.lock":
            lockfiles.uv_lock(text, "shop", {})
        elif name == "pylock.toml":
            lockfiles.pylock(text, {})


ODD: tuple[str, ...] = ("1", "true", '"x"', "[]", "{}", "[1]", '[["x"]]', "{a = 1}", "1.5", "2020-01-01", '[{a = "b"}]')
KEYS = (
    *("project", "dependency-groups", "tool", "build-system", "package", "packages", "version", "lock-version"),
    *("project.name", "project.dependencies", "project.optional-dependencies", "project.optional-dependencies.web"),
    *("project.scripts", "project.requires-python", "project.dynamic", "dependency-groups.web", "tool.poetry"),
    *("tool.poetry.name", "tool.poetry.dependencies", "tool.poetry.scripts", "tool.poetry.dependencies.x", "tool.uv"),
    *("manifest", "conflicts", "requires-python", "environments", "extras", "metadata"),
)


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock", "pylock.toml"])
def test_any_type_anywhere_is_read_or_refused(tmp_path: Path, name: str) -> None:
    chance = random.Random(11)
    settings = Python.model_validate({"extras": ["web"], "groups": ["web"]})
    for _ in range(400):
        keys = chance.sample(KEYS, chance.randint(1, 3))
        text = "".join(f"{key} = {chance.choice(ODD)}\n" for key in keys)
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        (tmp_path / name).write_text(text)
        attempts: list[Any] = [
            lambda: read_requirements(tmp_path, ["web"], ["web"]),
            lambda: python.read(tmp_path, settings),
            lambda: _all_of(tmp_path),
        ]
        for attempt in attempts:
            try:
                attempt()
            except SettingsError:
                continue
            except Exception as error:
                raise AssertionError(f"{name}: {text!r}") from error
