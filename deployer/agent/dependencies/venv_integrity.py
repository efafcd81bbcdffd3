"""Whether a virtualenv is whole, told by its marker and a few `stat` calls, and which folder a new one is built in.

A damaged virtualenv is never rebuilt in its folder while a release links to it, since processes may run from it. The
new one goes into a folder beside it, `<key>.r2`, and each release's `.venv` link moves there with one rename.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.system import files, tree

MARKER = ".deploy-venv.json"
_PYTHON = "bin/python"
_BESIDE = re.compile(r"\.r\d+\Z")
_NAMES_VERSION = re.compile(r"python\d+\.\d+\Z")
_REGENERATED = ("__pycache__",)


def damage(path: str) -> str:
    """What keeps the virtualenv at `path` from being used, in words; empty if it is whole. Starts no program."""
    if not os.path.isdir(path):
        return "its folder is missing"
    try:
        with open(path + "/" + MARKER, encoding="utf-8") as file:
            marker = json.load(file)
    except (OSError, ValueError):
        marker = None
    if not isinstance(marker, dict):
        return "its marker is missing"
    if not os.access(path + "/" + _PYTHON, os.X_OK):
        return f"its interpreter {_target(path)} is missing"
    if marker.get("version") not in (None, _version(path)):
        return f"its interpreter {_target(path)} is another version"
    absent = sorted(set(marker.get("entries") or ()) - set(entries(path)))
    return f"{absent[0]} is missing{_and_more(len(absent) - 1)}" if absent else ""


def describe(path: str) -> dict[str, Any]:
    """What the marker of the virtualenv at `path` records, for `damage` to compare."""
    return {"version": _version(path), "entries": sorted(entries(path))}


def entries(path: str) -> Iterator[str]:
    """Programs, distributions, and the first file of each package, relative to the virtualenv."""
    for folder in ["bin", *_site_packages(path)]:
        for entry in _scanned(path + "/" + folder):
            name = folder + "/" + entry.name
            if entry.name in _REGENERATED:
                continue
            yield name
            if folder != "bin" and os.path.isfile(entry.path + "/__init__.py"):
                yield name + "/__init__.py"


def folder_for(site: Site, key: str) -> str:
    """The name of the folder in `venvs/` for a key: a whole virtualenv of it, else one that no release links to."""
    built = [entry.name for entry in _scanned(site.venvs) if key_of(entry.name) == key]
    for name in built:
        if not damage(site.venv(name)):
            return name
    linked = set(_links(site).values())
    names = [key, *("%s.r%d" % (key, number) for number in range(2, len(linked) + 3))]
    return next(name for name in names if name not in linked)


def relink(site: Site, key: str, name: str) -> list[str]:
    """Leads the releases whose virtualenv of this key is damaged to the folder `name`. Returns their ids."""
    moved = []
    for release, linked in _links(site).items():
        if key_of(linked) == key and linked != name and damage(site.venv(linked)):
            _point(site.release(release), "../../venvs/" + name)
            moved.append(release)
    return moved


def key_of(name: str) -> str:
    """The key that a folder in `venvs/` was built for."""
    return _BESIDE.sub("", name)


def _links(site: Site) -> dict[str, str]:
    """Release → the name of the folder that its `.venv` leads to."""
    folder_names = {}
    for entry in _scanned(site.releases):
        try:
            folder_names[entry.name] = os.path.basename(os.readlink(entry.path + "/.venv"))
        except OSError:
            continue
    return folder_names


def _point(release: str, target: str) -> None:
    """Moves the `.venv` link of a sealed release at once."""
    os.chmod(release, tree.FOLDER)
    try:
        files.replace_link(release + "/.venv", target)
    finally:
        os.chmod(release, tree.READ_ONLY)


def _site_packages(path: str) -> list[str]:
    return [f"lib/{entry.name}/site-packages" for entry in _scanned(path + "/lib")]


def _scanned(folder: str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []


def _version(path: str) -> str | None:
    """`python3.11`, as the interpreter's own file is called; None if its name does not tell."""
    name = os.path.basename(_target(path))
    return name if _NAMES_VERSION.match(name) else None


def _target(path: str) -> str:
    return os.path.realpath(path + "/" + _PYTHON)


def _and_more(count: int) -> str:
    return " and %d more" % count if count else ""
