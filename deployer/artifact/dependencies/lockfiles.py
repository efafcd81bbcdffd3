"""Lock files as pinned requirement texts for one host: `uv.lock` and `pylock.toml` (PEP 751).

Markers are evaluated here, for that host, so the text holds exactly what is to be installed, with hashes. `uv export`
does not serve: it writes one text with markers for all platforms, and a pin of another platform would change the key of
every virtualenv.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from deployer.errors import SettingsError
from deployer.settings.dependencies.uv_lock import edges, reach
from deployer.settings.project_files import parse

Markers = Mapping[str, str]
_LOCAL = ("virtual", "editable", "directory")


@dataclass(frozen=True)
class Pinned:
    """`text` is a requirements file; `local` are folders of the source that the project uses as packages."""

    text: str
    local: tuple[str, ...] = ()


def uv_lock(
    content: str, project: str, markers: Markers, extras: Sequence[str] = (), groups: Sequence[str] = ()
) -> Pinned:
    """Return what `uv sync --no-dev --no-install-local` would install on a host, from the text of a `uv.lock`.

    Args:
        project: the name of the project that is deployed, a member of the lock.
        markers: the environment of the host.
        extras, groups: of the project; no group is a default.

    Raises:
        SettingsError: the lock is of an unknown version, or misses the project, an extra or a group.
    """
    return _UvLock(parse(content, "uv.lock"), markers).pinned(canonicalize_name(project), extras, groups)


def pylock(content: str, markers: Markers) -> Pinned:
    """Return what a `pylock.toml` says is to be installed on a host. SettingsError when it cannot be read."""
    data = parse(content, "pylock.toml")
    lines = []
    for package in data.get("packages", ()):
        if not holds(package.get("marker"), markers, "pylock.toml"):
            continue
        if "directory" in package:
            raise _wrong("pylock.toml", f"{package.get('name')} is a folder, and a lock file cannot install a folder")
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
        hashes = [f"{kind}:{value}" for file in files for kind, value in sorted(file.get("hashes", {}).items())]
        lines.append(_line(package, hashes, "pylock.toml"))
    return Pinned(_text(lines))


def holds(marker: str | None, markers: Markers, file: str) -> bool:
    """Return whether a PEP 508 marker is true in an environment; no marker is. SettingsError when it is malformed."""
    try:
        return marker is None or Marker(marker).evaluate(dict(markers))
    except InvalidMarker as error:
        raise _wrong(file, f"the marker {marker!r} cannot be read") from error


class _UvLock:
    def __init__(self, data: Mapping[str, Any], markers: Markers) -> None:
        if data.get("version") != 1:
            raise _wrong("uv.lock", f"version {data.get('version')} is not supported")
        if data.get("conflicts"):
            raise _wrong("uv.lock", "conflicting extras or groups need uv itself", "ship an exported requirements.txt")
        self._packages = [package for package in data.get("package", ()) if self._fits(package, markers)]
        self._markers = markers

    def pinned(self, project: str, extras: Sequence[str], groups: Sequence[str]) -> Pinned:
        root = self._find({"name": project})
        for table, what, names in (("optional-dependencies", "extra", extras), ("dev-dependencies", "group", groups)):
            for name in names:
                if canonicalize_name(name) not in map(canonicalize_name, root.get(table, {})):
                    raise _wrong("uv.lock", f"{root['name']} has no {what} {name}", "uv lock; or mend deploy.yaml")
        start = edges(root, [canonicalize_name(name) for name in extras], [canonicalize_name(name) for name in groups])
        packages = reach(start, self._follow)
        installed = [packages[key] for key in sorted(packages) if packages[key] is not root]
        local = [path for package in installed for path in _local_path(package)]
        lines = [_line(package, _uv_hashes(package), "uv.lock") for package in installed if not _local_path(package)]
        return Pinned(_text(lines), tuple(local))

    def _follow(self, edge: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [self._find(edge)] if holds(edge.get("marker"), self._markers, "uv.lock") else []

    def _find(self, edge: Mapping[str, Any]) -> Mapping[str, Any]:
        matches = [
            package
            for package in self._packages
            if package["name"] == edge["name"] and edge.get("version", package.get("version")) == package.get("version")
        ]
        if len(matches) != 1:
            raise _wrong("uv.lock", f"{edge['name']} occurs {len(matches)} times for this host", "uv lock")
        package: Mapping[str, Any] = matches[0]
        return package

    @staticmethod
    def _fits(package: Mapping[str, Any], markers: Markers) -> bool:
        forks: Iterable[str] = package.get("resolution-markers", ())
        return not forks or any(holds(fork, markers, "uv.lock") for fork in forks)


def _local_path(package: Mapping[str, Any]) -> list[str]:
    source = package.get("source", {})
    return [str(source[kind]) for kind in _LOCAL if kind in source]


def _uv_hashes(package: Mapping[str, Any]) -> list[str]:
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    return [str(file["hash"]) for file in files if "hash" in file]


def _line(package: Mapping[str, Any], hashes: Sequence[str], file: str) -> str:
    """Return one line of a requirements file, by where the package comes from."""
    name, source = package["name"], package.get("source", {})
    if "git" in source:  # uv: git = "https://…?rev=main#<commit>"
        url, _, commit = str(source["git"]).partition("#")
        return f"{name} @ git+{url.partition('?')[0]}@{commit}"
    if "vcs" in package:
        vcs = package["vcs"]
        return f"{name} @ {vcs.get('type', 'git')}+{vcs['url']}@{vcs['commit-id']}"
    archive = package.get("archive", {}).get("url") or source.get("url")
    if archive:
        return _hashed(f"{name} @ {archive}", hashes or _archive_hashes(package))
    if "path" in source or "version" not in package:
        raise _wrong(file, f"{name} comes from a file or folder of its own", "publish it, or ship it with the source")
    return _hashed(f"{name}=={package['version']}", hashes)


def _archive_hashes(package: Mapping[str, Any]) -> list[str]:
    return [f"{kind}:{value}" for kind, value in sorted(package.get("archive", {}).get("hashes", {}).items())]


def _hashed(line: str, hashes: Sequence[str]) -> str:
    return " \\\n    ".join([line, *(f"--hash={value}" for value in sorted(set(hashes)))])


def _text(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _wrong(file: str, why: str, hint: str = "") -> SettingsError:
    return SettingsError(f"{file} cannot be used", file=file, cause=why, hint=hint or "write the lock file again")
