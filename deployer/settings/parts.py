"""Repositories of several parts: in which folder an app lies, told by the file of dependencies that is beside it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from deployer.settings.inference.apps import Apps, Candidate
from deployer.settings.inference.modules import read_code
from deployer.settings.inference.requirements import read_requirements

_SIMILAR = ("requirements*.txt", "requirements*.in", "requirements/*.txt", "setup.py", "setup.cfg", "environment.yml")
_MOST_NAMED = 3


def dependency_file(folder: Path) -> str | None:
    """The file of `folder` that names what the app depends on, also one that only Poetry or Pipenv read."""
    found = read_requirements(folder)
    return found.file or (found.unread[0].partition(" ")[0] if found.unread else None)


def part_of(folder: Path, app: str) -> str:
    """The folder below `folder` that has the app `module:attribute` and its dependencies; "" if `folder` has them."""
    found = _candidate(folder, app)
    if found is None or dependency_file(folder):
        return ""
    around = PurePosixPath(found.file).parents
    return next((str(each) for each in around if each.parts and dependency_file(folder / each)), "")


def named_in_part(folder: Path, part: str, app: str) -> str:
    """The `module:attribute` that an app of `folder` has where `part` is the source folder; unchanged if unknown."""
    found = _candidate(folder, app)
    if found is None:
        return app
    there = Apps(read_code(folder / part)).candidates()
    same = [each for each in there if (f"{part}/{each.file}", each.attribute) == (found.file, found.attribute)]
    return same[0].path + ("()" if same[0].factory else "") if same else app


def similar_files(folder: Path) -> tuple[str, ...]:
    """The first files that may name dependencies, and that a push does not read."""
    found = [path.relative_to(folder).as_posix() for pattern in _SIMILAR for path in sorted(folder.glob(pattern))]
    return tuple(found[:_MOST_NAMED])


def _candidate(folder: Path, app: str) -> Candidate | None:
    path = app.removesuffix("()")
    return next((one for one in Apps(read_code(folder)).candidates() if one.path == path), None)
