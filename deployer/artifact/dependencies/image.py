"""How an image gets the dependencies of a tree: the commands of its build that install what a host would be given."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer.artifact.dependencies import requirements
from deployer.artifact.dependencies.python import Dependencies
from deployer.errors import SettingsError


@dataclass(frozen=True)
class Installing:
    """The steps that fill `.venv`: shell commands, the files of the source that they read, whether they need uv."""

    commands: tuple[str, ...]
    files: tuple[str, ...] = ()
    uv: bool = False


def installing(dependencies: Dependencies, tree: Path) -> Installing:
    """Return what installs the dependencies as on a host: the project itself is not installed, its folder is on the
    path."""
    settings = dependencies.settings
    beside = [shlex.quote(line) for line in settings.with_]
    if settings.installer == "none":
        raise SettingsError(
            "python.installer is none, but no base image has the packages of a host",
            step="render",
            hint="python: {installer: auto} in deploy.yaml, or in the overlay of an environment for images",
        )
    pip = ".venv/bin/python -m pip install"
    by_uv = "/opt/uv/bin/uv pip install --python .venv/bin/python"
    extras = [word for extra in settings.extras for word in ("--extra", shlex.quote(extra))]
    groups = [word for group in settings.groups for word in ("--group", shlex.quote(group))]
    more = (" ".join([by_uv, *beside]),) if beside else ()
    if dependencies.kind == "uv.lock":
        alone = ["--frozen", "--no-default-groups", "--no-install-project", "--no-install-workspace"]
        sync = " ".join(["/opt/uv/bin/uv sync", *alone, *extras, *groups])
        return Installing((sync, *more), ("pyproject.toml", "uv.lock"), uv=True)
    if dependencies.kind == "pylock.toml":
        return Installing((f"{by_uv} -r pylock.toml", *more), ("pylock.toml",), uv=True)
    if dependencies.kind == "pyproject.toml":
        words = [by_uv, "-r", "pyproject.toml", *extras, *groups, *beside]
        return Installing((" ".join(words),), ("pyproject.toml",), uv=True)
    if dependencies.kind == "requirements.txt":
        return _from_requirements(dependencies, tree, pip, beside)
    return Installing((" ".join([pip, *beside]),) if beside else ())


def _from_requirements(dependencies: Dependencies, tree: Path, pip: str, beside: Sequence[str]) -> Installing:
    """By the file itself, but where it names the project: then by the lines that it comes to."""
    file = tree / "requirements.txt"
    if requirements.read(file).own is not None:
        options = [word for option in dependencies.options for word in option.split()]
        words = [*options, *dependencies.loose]
        return Installing((" ".join([pip, *map(shlex.quote, words), *beside]),))
    paths = []
    for path in requirements.files(file):
        if not path.is_relative_to(tree.resolve()):
            raise SettingsError(
                f"requirements.txt includes {path.name}, which lies outside the shipped folder", step="render"
            )
        paths.append(path.relative_to(tree.resolve()).as_posix())
    first = f"{pip} -r requirements.txt"
    if dependencies.files and beside:  # every line has a hash, and then pip wants one of all
        return Installing((first, " ".join([pip, *beside])), tuple(paths))
    return Installing((" ".join([first, *beside]),), tuple(paths))
