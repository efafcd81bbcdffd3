"""Repositories of several parts: the folder of an app, by the dependency file beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deployer.settings.inference.app.apps import Apps, Candidate
from deployer.settings.inference.app.modules import read_code
from deployer.settings.inference.requirements import read_requirements

_SIMILAR = ("requirements*.txt", "requirements*.in", "requirements/*.txt", "setup.py", "setup.cfg", "environment.yml")
_MOST_NAMED = 3


def dependency_file(folder: Path) -> str | None:
    """Return the file of `folder` that names what the app depends on, also one that only Poetry or Pipenv read."""
    requirements = read_requirements(folder)
    return requirements.file or (requirements.unread[0].partition(" ")[0] if requirements.unread else None)


@dataclass(frozen=True)
class Part:
    """A folder below that of the repository, and the `file` of dependencies in it.

    `outside` is what its code imports from the rest (`shop/main.py imports common`); empty where it can go alone.
    """

    folder: str
    file: str
    outside: str = ""


def part_of(folder: Path, app: str) -> Part | None:
    """Return where below `folder` the app `module:attribute` and its dependencies lie; None if `folder` has them
    itself."""
    candidate = None if dependency_file(folder) else _candidate(folder, app)
    if candidate is None:
        return None
    for around in PurePosixPath(candidate.file).parents:
        file = dependency_file(folder / around) if around.parts else None
        if file:
            return Part(str(around), file, _outside(folder, around))
    return None


def _outside(folder: Path, part: PurePosixPath) -> str:
    """Return the first import of code in that part that only the rest of the repository has: `shop/main.py imports
    common`."""
    for module in read_code(folder).modules:
        file = PurePosixPath(module.file)
        if not file.is_relative_to(part):
            continue
        within = [folder / path for path in (part / "src", *file.parents) if path.is_relative_to(part)]
        for level, name in _imported(module.tree):
            if level:
                leaves = part not in file.parents[level:]
            else:
                leaves = _has(folder, name) and not any(_has(path, name) for path in within)
            if leaves:
                return f"{file} imports {'.' * level}{name.partition('.')[0]}"
    return ""


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every import: how many dots it begins with, and the dotted name: `a.b` for `from a import b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            before = [node.module] if node.module else []
            yield from ((node.level, ".".join([*before, alias.name])) for alias in node.names)


def _has(folder: Path, dotted: str) -> bool:
    """Return whether the module, or the name in one, is in that folder."""
    first, _, below = dotted.partition(".")
    package, second = folder / first, below.partition(".")[0]
    if (folder / f"{first}.py").is_file() or (package / "__init__.py").is_file():
        return True
    return bool(second) and ((package / f"{second}.py").is_file() or (package / second).is_dir())


def named_in_part(folder: Path, part: str, app: str) -> str:
    """Return the `module:attribute` that an app of `folder` has where `part` is the source folder; unchanged if
    unknown."""
    original = _candidate(folder, app)
    if original is None:
        return app
    candidates = Apps(read_code(folder / part)).candidates()
    matches = [
        candidate
        for candidate in candidates
        if (f"{part}/{candidate.file}", candidate.attribute) == (original.file, original.attribute)
    ]
    return matches[0].path + ("()" if matches[0].factory else "") if matches else app


def similar_files(folder: Path) -> tuple[str, ...]:
    """Return the first files that may name dependencies, and that a push does not read."""
    paths = [path.relative_to(folder).as_posix() for pattern in _SIMILAR for path in sorted(folder.glob(pattern))]
    return tuple(paths[:_MOST_NAMED])


def _candidate(folder: Path, app: str) -> Candidate | None:
    path = app.removesuffix("()")
    return next((candidate for candidate in Apps(read_code(folder)).candidates() if candidate.path == path), None)
