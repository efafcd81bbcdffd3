"""The distributions that an app's own files ask for, with what is said of their versions. Markers do not count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from deployer.errors import SettingsError
from deployer.settings import project_files
from deployer.settings.requirement_line import from_editable

FILES = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_TWO_NAMES = re.compile(r"\s*[A-Za-z0-9][\w.-]*(\[[^\]]*\])?[ \t]+[A-Za-z0-9][\w.-]*\s*(#.*)?")
_INCLUDE = re.compile(r"\s*(?:-r|--requirement)[ =]?\s*(\S+)")
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
        """Whether every version that may be installed is older; False where nothing is said of it."""
        limit = Version(than)
        return any(
            _ends_below(specifier.operator, specifier.version, limit) for specifier in self.versions.get(name, ())
        )


def _ends_below(operator: str, written: str, limit: Version) -> bool:
    """Whether `==1.2`, `~=1.2` or `<1.2` holds for no version from `limit` on."""
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


def normal(name: str) -> str:
    """A distribution's name as indexes compare it: `Uvicorn_Worker` is `uvicorn-worker`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirements(
    folder: Path, extras: Iterable[str] = (), groups: Iterable[str] = (), more: Iterable[str] = ()
) -> Requirements:
    """What the files of `folder` ask for, with those extras and dependency groups, and `more` requirements beside them.

    Raises: SettingsError for a file that cannot be read.
    """
    project = project_files.load(folder / "pyproject.toml")
    file = next((name for name in FILES if (folder / name).is_file()), None)
    if file == "pyproject.toml" and "project" not in project:
        file = None
    extras, groups = [normal(extra) for extra in extras], [normal(group) for group in groups]
    lines, locked = list(more), []
    if file == "uv.lock":
        lock = project_files.load(folder / file)
        names, locked = _from_uv(lock, extras, groups), _maps(lock.get("package"))
    elif file == "pylock.toml":
        locked = _maps(project_files.load(folder / file).get("packages"))
        names = {normal(str(package.get("name", ""))) for package in locked}
    else:
        written = (
            _from_text(folder / file, set()) if file == "requirements.txt" else _from_project(project, extras, groups)
        )
        names, lines = _expand(written), [*lines, *written]
    python, python_file, ignored = _python(folder)
    python_range = _map(project.get("project")).get("requires-python")
    return Requirements(
        file,  # type: ignore[arg-type]
        frozenset(names | _expand(lines)),
        python,
        python_file,
        python_range if isinstance(python_range, str) else None,
        _versions([*lines, *(f"{package.get('name')}=={package.get('version')}" for package in locked)]),
        _scripts(project, _expand(lines)),
        None if file else _unread(folder, project),
        ignored,
    )


def _scripts(project: Mapping[str, Any], installed: set[str]) -> dict[str, str]:
    """The commands of a project that is not among what is installed."""
    own, poetry = _map(project.get("project")), _map(_map(project.get("tool")).get("poetry"))
    scripts = {**_map(poetry.get("scripts")), **_map(own.get("scripts"))}
    if normal(str(own.get("name", poetry.get("name", "")))) in installed:
        return {}
    return {name: entry for name, entry in sorted(scripts.items()) if isinstance(entry, str)}


def _unread(folder: Path, project: Mapping[str, Any]) -> tuple[str, str] | None:
    if _map(_map(project.get("tool")).get("poetry")).get("dependencies"):
        export = "poetry export -f requirements.txt -o requirements.txt"
        return "pyproject.toml (tool.poetry)", f"{export} (with Poetry 2 first: poetry self add poetry-plugin-export)"
    if (folder / "Pipfile").is_file():
        return "Pipfile", "pipenv requirements > requirements.txt"
    return None


def _versions(requirements: Iterable[str]) -> dict[str, SpecifierSet]:
    """Name → what those lines say of its version, all of them together; a line that is no requirement says nothing."""
    specifiers: dict[str, SpecifierSet] = {}
    for requirement in requirements:
        try:
            read = Requirement(re.split(r"\s--hash|(?:^|\s)#", requirement)[0].strip())
        except InvalidRequirement:
            continue
        if read.specifier:
            name = normal(read.name)
            specifiers[name] = specifiers.get(name, SpecifierSet()) & read.specifier
    return specifiers


def _python(folder: Path) -> tuple[str | None, str | None, str | None]:
    """The version in `.python-version`, that name, and what else the file says where it has none."""
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
            name = normal(match[1])
            names.add(name)
            for extra in (match[2] or "").split(","):
                names.update(_EXTRAS.get((name, normal(extra.strip())), ()))
    return names


def _from_text(path: Path, seen: set[Path]) -> list[str]:
    if path in seen:
        return []
    seen.add(path)
    lines: list[str] = []
    for number, line in enumerate(path.read_text(errors="replace").replace("\\\n", " ").splitlines(), 1):
        include = _INCLUDE.match(line)
        if include and "://" not in include[1]:
            other = path.parent / include[1]
            if not other.is_file():
                raise SettingsError(f"{path.name} names {include[1]}, which is not there", file=path.name, line=number)
            lines += _from_text(other, seen)
        elif _TWO_NAMES.fullmatch(line):
            raise SettingsError(
                f"{line.strip()!r} is no requirement", file=path.name, line=number, hint="write one requirement a line"
            )
        elif repository := from_editable(line):
            lines.append(repository)
        elif not line.lstrip().startswith(("#", "-")):
            lines.append(line)
    return lines


def _from_project(data: dict[str, Any], extras: list[str], groups: list[str]) -> list[str]:
    project, poetry = _map(data.get("project")), _map(_map(data.get("tool")).get("poetry"))
    requirements = _texts(project.get("dependencies"))
    for name, value in _map(project.get("optional-dependencies")).items():
        requirements += _texts(value) if normal(name) in extras else []
    for name, value in _map(data.get("dependency-groups")).items():
        requirements += _texts(value) if normal(name) in groups else []
    for name, value in _map(poetry.get("dependencies")).items():
        brings = ",".join(_texts(_map(value).get("extras")))
        requirements.append(f"{name}[{brings}]")
    return requirements


def _from_uv(lock: dict[str, Any], extras: list[str], groups: list[str]) -> set[str]:
    """Every package that the lock's own project reaches with those extras and groups."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in _maps(lock.get("package")):
        packages.setdefault(normal(str(package.get("name", ""))), []).append(package)
    every = [package for same_named in packages.values() for package in same_named]
    own = [package for package in every if _map(package.get("source")).keys() & {"virtual", "editable"}]
    waiting = [edge for package in own for edge in _edges(package, extras) + _groups(package, groups)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for package in packages.get(name, ()):
            waiting += _edges(package, [extra] if extra else [])
    return {name for name, _ in seen}


def _edges(package: dict[str, Any], extras: list[str]) -> list[tuple[str, str]]:
    dependencies = _maps(package.get("dependencies"))
    for extra, extra_dependencies in _map(package.get("optional-dependencies")).items():
        dependencies += _maps(extra_dependencies) if normal(extra) in extras else []
    return [edge for dependency in dependencies for edge in _edge(dependency)]


def _groups(package: dict[str, Any], groups: list[str]) -> list[tuple[str, str]]:
    sets = _map(package.get("dev-dependencies"))
    return [
        edge
        for name, dependencies in sets.items()
        if normal(name) in groups
        for dependency in _maps(dependencies)
        for edge in _edge(dependency)
    ]


def _edge(dependency: dict[str, Any]) -> list[tuple[str, str]]:
    name = normal(str(dependency.get("name", "")))
    return [(name, ""), *((name, normal(extra)) for extra in _texts(dependency.get("extra")))]


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
