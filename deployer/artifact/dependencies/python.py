"""The dependencies of an app: from what its tree says to pinned texts that every host installs alike.

The virtualenv holds dependencies only, whatever they come from. The project itself is never installed: its source is in
the release and found by `sys.path`; `Dependencies.pythonpath` says where in the release, beside its root.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from deployer.agent.model.messages.dependencies import VenvSpec
from deployer.agent.model.messages.releases import Resolution as ResolutionRecord
from deployer.agent.site.app_environment import Redactor
from deployer.artifact.dependencies import lockfiles, requirements
from deployer.artifact.dependencies.host_python import HostPython, Installer
from deployer.artifact.dependencies.resolving import Resolution, remembered, resolve
from deployer.artifact.kept_versions import KeptVersions
from deployer.errors import SettingsError
from deployer.settings import project_files
from deployer.settings.dependencies.project import declared
from deployer.settings.models import Python

Kind = Literal["uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml", "none"]
_FORMAT = 1  # part of every key: raise it when virtualenvs are built in another way


@dataclass(frozen=True)
class Dependencies:
    """The dependencies of a tree. `loose` has no exact versions yet; a lock file has, and is in `files`.

    `pythonpath` are folders of the release that belong on `sys.path` (`src`); `project` is the name in pyproject.toml.
    """

    kind: Kind
    settings: Python
    files: Mapping[str, str] = field(default_factory=dict)
    loose: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    pythonpath: tuple[str, ...] = ()
    project: str = ""


@dataclass(frozen=True)
class Locked:
    """Everything that is to be installed on hosts with the same Python. `key` names the virtualenv.

    `origin` says where the versions come from; `pythonpath` are folders of the release for `sys.path`. `resolution`
    (`digest, at`) is the question that the last of the requirements answers and when it was resolved, in seconds since
    the epoch; empty where nothing was resolved.
    """

    key: str
    requirements: tuple[str, ...]
    origin: str
    host: HostPython
    pythonpath: tuple[str, ...]
    resolution: ResolutionRecord | None = None

    def spec(
        self,
        requires: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> VenvSpec:
        """Return the `venv` argument of `release.build`.

        Args:
            requires: distributions that must be there (`Runtime.requires`).
            env: `python.env`; `secrets`: the values of `python.secrets`.
        """
        host = self.host
        return {
            "key": self.key,
            "python": host.path,
            "installer": host.installer,
            "uv": host.uv,
            "requirements": list(self.requirements),
            "requires": list(requires),
            "env": dict(env or {}),
            "secrets": dict(secrets or {}),
        }

    def installed_by(self, installer: Installer, uv: str = "") -> Locked:
        """Return the same by another installer, which is another virtualenv: pip's holds pip. `uv` is its path."""
        host = replace(self.host, installer=installer, uv=uv)
        return replace(self, host=host, key=_key(self.key.removesuffix(f"-{self.host.installer}"), host))


@dataclass(frozen=True)
class Unsettled:
    """Loose requirements that could not be resolved here; `why` says so. A host has to do it.

    `venv.resolve` on the first host takes `spec`; `settled` makes a `Locked` of its answer.
    """

    dependencies: Dependencies
    host: HostPython
    pinned: lockfiles.Pinned
    resolution: Resolution
    why: str
    cache: Path

    @property
    def draft(self) -> Locked:
        """What is known so far."""
        return _locked(self.dependencies, self.host, self.pinned, "", "")

    @property
    def spec(self) -> VenvSpec:
        """The `venv` argument of `venv.resolve`."""
        wanted = [*self.resolution.options, *self.resolution.loose]
        return {**self.draft.spec(), "requirements": wanted, "constraints": "\n".join(self.resolution.constraints)}

    def settled(self, answer: str, host: str) -> Locked:
        """Return what is to be installed everywhere, with the versions that `host` found; remembered for the
        next run."""
        text = self.resolution.keep(self.cache, answer)
        locked = _locked(self.dependencies, self.host, self.pinned, text, f"resolved on {host}, because {self.why}")
        return replace(locked, resolution={"digest": self.resolution.digest, "at": int(time.time())})


def read(tree: Path, settings: Python) -> Dependencies:
    """Return what the tree asks for: `uv.lock`, `pylock.toml`, `requirements.txt`, `pyproject.toml`, the first that is
    there.

    Raises:
        SettingsError: a file cannot be read, or names a local path, an extra or a group that is not there.
    """
    project = _project(tree)
    name = str(project.get("project", {}).get("name", ""))
    path = ("src",) if (tree / "src").is_dir() and not (tree / "src" / "__init__.py").exists() else ()
    if settings.installer == "none":
        return Dependencies("none", settings, pythonpath=path, project=name)
    if (tree / "uv.lock").is_file():
        files = {"uv.lock": project_files.read_text(tree / "uv.lock")}
        return Dependencies("uv.lock", settings, files, pythonpath=path, project=name)
    if (tree / "pylock.toml").is_file():
        files = {"pylock.toml": project_files.read_text(tree / "pylock.toml")}
        return Dependencies("pylock.toml", settings, files, pythonpath=path, project=name)
    if (tree / "requirements.txt").is_file():
        return _from_requirements(tree, settings, project, path)
    if "dependencies" in project.get("project", {}) or settings.extras or settings.groups:
        loose = declared(project, settings.extras, settings.groups)
        return Dependencies("pyproject.toml", settings, loose=loose, pythonpath=path, project=name)
    return Dependencies("none", settings, pythonpath=path, project=name)


def lock(
    dependencies: Dependencies,
    host: HostPython,
    cache: Path,
    secrets: Mapping[str, str] | None = None,
    proven: tuple[str, ...] = (),
    kept: KeptVersions = KeptVersions(),  # noqa: B008 (frozen)
) -> Locked | Unsettled:
    """Return exact versions for a host. Hosts with equal facts get equal texts, and so the same key.

    Args:
        cache: a folder where resolved texts are kept by the content of the request.
        secrets: the values of `python.secrets`, for private indexes.
        proven: what the same tree was installed with elsewhere (`Locked.requirements`): nothing is resolved anew.
        kept: what the current release was resolved to, which counts before what this machine remembers.

    Raises:
        SettingsError: a lock file cannot be used.
    """
    pinned = _pinned(dependencies, host)
    loose = (*dependencies.loose, *dependencies.settings.with_)
    if not loose or dependencies.settings.installer == "none":
        return _locked(dependencies, host, pinned, "", dependencies.kind)
    if proven:
        return _locked(dependencies, host, pinned, proven[-1], "as it was proven")
    resolution = Resolution(loose, dependencies.options, (*dependencies.constraints, *_names(pinned.text)), host)
    answer = kept.find(resolution.digest)
    remembers = None if kept.anew or answer else remembered(resolution, cache)
    text, at = (answer.text, answer.at) if answer else remembers or (None, int(time.time()))
    origin = f"as {answer.release} has them" if answer else "resolved before"
    if text is None:
        resolved = resolve(resolution, {**dependencies.settings.env, **(secrets or {})})
        if resolved.text is None:
            redact = Redactor((secrets or {}).values())
            return Unsettled(dependencies, host, pinned, resolution, redact(resolved.reason), cache)
        text, origin = resolution.keep(cache, resolved.text), f"resolved here by {resolved.by}"
    if dependencies.kind in ("uv.lock", "pylock.toml"):
        origin = f"{dependencies.kind}, and python.with {origin}"
    locked = _locked(dependencies, host, pinned, text, origin)
    return replace(locked, resolution={"digest": resolution.digest, "at": at})


def _pinned(dependencies: Dependencies, host: HostPython) -> lockfiles.Pinned:
    settings, files = dependencies.settings, dependencies.files
    if dependencies.kind == "uv.lock":
        if not dependencies.project:
            raise SettingsError("uv.lock exists, but pyproject.toml names no project", hint="[project] name = …")
        return lockfiles.uv_lock(files["uv.lock"], dependencies.project, host.markers, settings.extras, settings.groups)
    if dependencies.kind == "pylock.toml":
        return lockfiles.pylock(files["pylock.toml"], host.markers)
    return lockfiles.Pinned(files.get("requirements.txt", ""))


def _locked(
    dependencies: Dependencies, host: HostPython, pinned: lockfiles.Pinned, resolved: str, origin: str
) -> Locked:
    texts = tuple(text for text in (pinned.text, resolved) if text.strip())
    settings = dependencies.settings
    material = [
        _FORMAT,
        texts,
        [host.version, host.implementation, host.abi, host.arch, host.libc, host.path],
        [settings.extras, settings.groups, settings.with_],
    ]
    digest = hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()
    local = tuple(part for folder in pinned.local for part in _on_path(folder))
    path = tuple(dict.fromkeys((*dependencies.pythonpath, *local)))
    return Locked(_key(f"py{host.version}-{digest[:16]}".lower(), host), texts, origin, host, path)


def _key(what: str, host: HostPython) -> str:
    return f"{what}-{host.installer}"


def _on_path(folder: str) -> tuple[str, str]:
    """Return where the code of a local package may lie; a folder that is not there does no harm on `sys.path`."""
    if folder.startswith(("..", "/")):
        raise SettingsError(
            f"{folder} lies outside the shipped folder",
            file="uv.lock",
            hint="deploy from the workspace's root: source: {path: …, subdir: ''}",
        )
    return (f"{folder}/src", folder)


def _from_requirements(tree: Path, settings: Python, project: Mapping[str, Any], path: tuple[str, ...]) -> Dependencies:
    requirements_file = requirements.read(tree / "requirements.txt")
    own = (
        ()
        if requirements_file.own is None
        else declared(project, (*requirements_file.own, *settings.extras), settings.groups)
    )
    name = str(project.get("project", {}).get("name", ""))
    if requirements_file.hashed and not own:
        files = {"requirements.txt": requirements_file.text}
        return Dependencies("requirements.txt", settings, files, (), requirements_file.options, (), path, name)
    lines = (*requirements_file.lines, *own)
    return Dependencies(
        "requirements.txt", settings, {}, lines, requirements_file.options, requirements_file.constraints, path, name
    )


def _project(tree: Path) -> dict[str, Any]:
    return project_files.load(tree / "pyproject.toml")


def _names(text: str) -> list[str]:
    """`name==version` of every pinned line, as constraints for what is resolved beside them."""
    return re.findall(r"^([A-Za-z0-9][\w.-]*==[^\s\\;]+)", text, re.MULTILINE)
