"""The distributions that an app's own files require, with their version constraints.

Environment markers are ignored.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from deployer.settings import project_files
from deployer.settings.dependencies.project import declared
from deployer.settings.dependencies.requirements_file import read_lines
from deployer.settings.dependencies.uv_lock import Package, edges, reach

FILES = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
# What extras of the frameworks bring, for files that name only direct dependencies.
_EXTRAS = {
    ("fastapi", "standard"): ("uvicorn", "websockets"),
    ("fastapi", "all"): ("uvicorn", "websockets"),
    ("litestar", "standard"): ("uvicorn", "websockets"),
    ("uvicorn", "standard"): ("websockets",),
    ("gunicorn", "gevent"): ("gevent",),
    ("gunicorn", "eventlet"): ("eventlet",),
    ("gunicorn", "tornado"): ("tornado",),
}


@dataclass(frozen=True)
class Requirements:
    """`file` is what is installed from (None: nothing found), `names` normalised names, `python` the version asked for.

    `python_file` is where `python` was read, `python_ignored` what it says where that is no version of CPython's;
    `python_range` is `requires-python` as written. `versions` are the names
    of which a range or an exact version is known. `scripts` are commands of the project itself that nothing installs,
    name → `module:function`. `unread` is a file whose dependencies nothing is installed from, and how to have one that
    counts: its own tool's form.
    """

    file: Literal["uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml"] | None
    names: frozenset[str]
    python: str | None = None
    python_file: str | None = None
    python_range: str | None = None
    versions: Mapping[str, SpecifierSet] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, str] | None = None
    python_ignored: str | None = None

    def older(self, name: str, than: str) -> bool:
        """Return whether every version that may be installed is older; False where it has no constraint."""
        limit = Version(than)
        return any(
            _ends_below(specifier.operator, specifier.version, limit) for specifier in self.versions.get(name, ())
        )


def _ends_below(operator: str, written: str, limit: Version) -> bool:
    """Return whether `==1.2`, `~=1.2` or `<1.2` holds for no version from `limit` on."""
    wild = written.endswith(".*")
    try:
        version = Version(written.removesuffix(".*"))
    except InvalidVersion:
        return False
    if operator == "~=" or (operator == "==" and wild):
        kept = version.release if wild else version.release[:-1]
        return Version(".".join(map(str, (*kept[:-1], kept[-1] + 1)))) <= limit
    return {"==": version < limit, "===": version < limit, "<=": version < limit, "<": version <= limit}.get(
        operator, False
    )


def read_requirements(
    folder: Path, extras: Iterable[str] = (), groups: Iterable[str] = (), more: Iterable[str] = ()
) -> Requirements:
    """Return what the files of `folder` ask for, with those extras and dependency groups, and `more` requirements
    beside them.

    Raises: SettingsError for a file that cannot be read.
    """
    project = project_files.load(folder / "pyproject.toml")
    file = next((name for name in FILES if (folder / name).is_file()), None)
    if file == "pyproject.toml" and "project" not in project:
        file = None
    extras, groups = [canonicalize_name(extra) for extra in extras], [canonicalize_name(group) for group in groups]
    lines, locked = list(more), []
    if file == "uv.lock":
        lock = project_files.load(folder / file)
        names, locked = _from_uv(lock, extras, groups), lock.get("package", [])
    elif file == "pylock.toml":
        locked = project_files.load(folder / file).get("packages", [])
        names = {canonicalize_name(package["name"]) for package in locked}
    else:
        written = (
            [line for _, line in read_lines(folder / file) if not line.startswith("-")]
            if file == "requirements.txt"
            else _from_project(project, extras, groups)
        )
        names, lines = _expand(written), [*lines, *written]
    python, python_file, ignored = _python(folder)
    return Requirements(
        file,  # type: ignore[arg-type]
        frozenset(names | _expand(lines)),
        python,
        python_file,
        project.get("project", {}).get("requires-python"),
        _versions([*lines, *(f"{package.get('name')}=={package.get('version')}" for package in locked)]),
        _scripts(project, _expand(lines)),
        None if file else _unread(folder, project),
        ignored,
    )


def _scripts(project: Mapping[str, Any], installed: set[str]) -> dict[str, str]:
    """Return the commands of a project that is not among what is installed."""
    own, poetry = project.get("project", {}), _poetry(project)
    scripts = {**poetry.get("scripts", {}), **own.get("scripts", {})}
    if canonicalize_name(own.get("name", poetry.get("name", ""))) in installed:
        return {}
    return {name: entry for name, entry in sorted(scripts.items()) if isinstance(entry, str)}


def _unread(folder: Path, project: Mapping[str, Any]) -> tuple[str, str] | None:
    if _poetry(project).get("dependencies"):
        export = "poetry export -f requirements.txt -o requirements.txt"
        return "pyproject.toml (tool.poetry)", f"{export} (with Poetry 2 first: poetry self add poetry-plugin-export)"
    if (folder / "Pipfile").is_file():
        return "Pipfile", "pipenv requirements > requirements.txt"
    return None


def _versions(requirements: Iterable[str]) -> dict[str, SpecifierSet]:
    """Return name → what those lines say of its version, all of them together; a line that is no requirement says
    nothing."""
    specifiers: dict[str, SpecifierSet] = {}
    for requirement in requirements:
        try:
            read = Requirement(re.split(r"\s--hash|(?:^|\s)#", requirement)[0].strip())
        except InvalidRequirement:
            continue
        if read.specifier:
            name = canonicalize_name(read.name)
            specifiers[name] = specifiers.get(name, SpecifierSet()) & read.specifier
    return specifiers


def _python(folder: Path) -> tuple[str | None, str | None, str | None]:
    """Return the version in `.python-version`, that name, and what else the file says where it has none."""
    path = folder / ".python-version"
    if not path.is_file():
        return None, None, None
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    for line in lines:
        match = re.fullmatch(r"(?:cpython[@-])?(3\.\d+(?:\.\d+)?)", line)
        if match:
            return match[1], path.name, None
    return None, None, next((line for line in lines if line and not line.startswith("#")), None)


def _expand(requirements: Iterable[str]) -> set[str]:
    """Names in requirement lines, with what well-known extras bring."""
    names: set[str] = set()
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match:
            name = canonicalize_name(match[1])
            names.add(name)
            for extra in (match[2] or "").split(","):
                names.update(_EXTRAS.get((name, canonicalize_name(extra.strip())), ()))
    return names


def _from_project(data: Mapping[str, Any], extras: Collection[str], groups: Collection[str]) -> list[str]:
    optional, sets = data.get("project", {}).get("optional-dependencies", {}), data.get("dependency-groups", {})
    requirements = declared(
        data,
        [name for name in optional if canonicalize_name(name) in extras],
        [name for name in sets if canonicalize_name(name) in groups],
    )
    poetry = _poetry(data).get("dependencies", {}).items()
    return [*requirements, *(f"{name}[{','.join(_texts(_map(value).get('extras')))}]" for name, value in poetry)]


def _from_uv(lock: Mapping[str, Any], extras: Collection[str], groups: Collection[str]) -> set[str]:
    """Return every package that the lock's own projects reach with those extras and groups, whatever the markers."""
    packages: dict[str, list[Package]] = {}
    for package in lock.get("package", ()):
        packages.setdefault(canonicalize_name(package["name"]), []).append(package)
    every = itertools.chain(*packages.values())
    own = [package for package in every if package.get("source", {}).keys() & {"virtual", "editable"}]
    start = [edge for package in own for edge in edges(package, extras, groups)]
    reached = reach(start, lambda edge: packages.get(canonicalize_name(edge["name"]), ()))
    return {canonicalize_name(name) for name, _ in reached}


def _poetry(project: Mapping[str, Any]) -> dict[str, Any]:
    poetry: dict[str, Any] = project.get("tool", {}).get("poetry", {})
    return poetry


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
