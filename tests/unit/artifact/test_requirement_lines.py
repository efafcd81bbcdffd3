"""Requirement lines that name repositories and URLs, as pip and uv take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.artifact.dependencies import python, requirements
from deployer.errors import SettingsError
from deployer.settings.inference.requirements import read_requirements
from deployer.settings.models import Python


def read(folder: Path, *lines: str) -> requirements.Requirements:
    (folder / "requirements.txt").write_text("".join(line + "\n" for line in lines))
    return requirements.read(folder / "requirements.txt")


@pytest.mark.parametrize(
    ("line", "installs"),
    [
        ("-e git+https://example.com/lib.git@1f2e#egg=lib", "lib @ git+https://example.com/lib.git@1f2e"),
        ("-e git+https://example.com/lib.git#egg=lib  # as pip freeze prints", "lib @ git+https://example.com/lib.git"),
        ("--editable=git+ssh://git@example.com/lib.git", "git+ssh://git@example.com/lib.git"),
        ("-e lib @ git+https://example.com/lib.git", "lib @ git+https://example.com/lib.git"),
        ('-e "lib[fast] @ git+https://example.com/lib.git@1.2"', "lib[fast] @ git+https://example.com/lib.git@1.2"),
        ("--editable git+file:///srv/lib@main#egg=lib[fast]", "lib[fast] @ git+file:///srv/lib@main"),
        (
            "-e git+https://example.com/mono.git#egg=lib&subdirectory=lib",
            "lib @ git+https://example.com/mono.git#subdirectory=lib",
        ),
        (
            "-e hg+https://example.com/lib#egg=lib ; python_version > '3'",
            "lib @ hg+https://example.com/lib ; python_version > '3'",
        ),
    ],
)
def test_an_editable_repository_is_installed_as_its_code(tmp_path: Path, line: str, installs: str) -> None:
    assert read(tmp_path, line).lines == (installs,)


def test_a_server_from_an_editable_repository_is_not_missing(tmp_path: Path) -> None:
    read(tmp_path, "-e git+https://example.com/uvicorn.git#egg=uvicorn", "fastapi")
    assert {"uvicorn", "fastapi"} <= set(read_requirements(tmp_path).names)


@pytest.mark.parametrize("line", ["-c https://example.com/c.txt", "--constraint=https://example.com/c.txt"])
def test_a_constraint_at_a_url_is_left_to_the_resolver(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, line, "flask")
    assert found.lines == (line, "flask") and not found.hashed
    assert requirements.files(tmp_path / "requirements.txt") == ((tmp_path / "requirements.txt").resolve(),)


def test_so_is_an_include_at_a_url(tmp_path: Path) -> None:
    found = read(tmp_path, "-r https://example.com/more.txt", "flask --hash=sha256:00")
    assert found.lines == ("-r https://example.com/more.txt", "flask --hash=sha256:00") and not found.hashed


@pytest.mark.parametrize("line", ["-e ./lib", "--editable=../lib", "file:///srv/lib", "-e file:///srv/lib"])
def test_a_folder_of_this_machine_is_still_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingsError, match="names a file or folder of this machine"):
        read(tmp_path, line)


def test_a_group_brings_what_it_includes_and_names_match_in_any_spelling(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\ndependencies = ["flask"]\n'
        '[project.optional-dependencies]\nPost_gres = ["psycopg"]\n'
        '[dependency-groups]\nserver = ["gunicorn"]\nProd = [{include-group = "server"}, "sentry-sdk"]\n'
    )
    wanted = {"flask", "psycopg", "gunicorn", "sentry-sdk"}
    assert read_requirements(tmp_path, ["post-gres"], ["prod"]).names == wanted
    assert set(python.read(tmp_path, Python(extras=("post-gres",), groups=("prod",))).loose) == wanted
