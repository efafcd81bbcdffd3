"""What `shared:` means for a tree: which names are folders, and what of the tree is not shipped."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

from deployer.agent.model.manifest import below

SHOWN = 5
"""Paths that a warning names."""
_PLACEHOLDERS = (".gitkeep", ".keep", ".gitignore")


def is_folder_name(name: str) -> bool:
    """Return whether a shared path reads as a folder: it ends in a slash, or its last part has no extension."""
    return name.endswith("/") or not posixpath.splitext(posixpath.basename(name))[1]


def folders(shared: Sequence[str], files: Iterable[str]) -> list[str]:
    """Return the shared paths that become folders on a host that has nothing there yet.

    Args:
        files: the paths of the tree. One that is a file there stays a file; one with files below it is a folder.
    """
    paths = list(files)
    names = []
    for entry in shared:
        name = entry.rstrip("/")
        is_folder = any(path.startswith(name + "/") for path in paths)
        if is_folder or (name not in paths and is_folder_name(entry)):
            names.append(name)
    return names


def not_shipped(shared: Sequence[str], files: Iterable[str]) -> list[str]:
    """Return the paths of the tree that a release leaves out, since `shared:` has them; placeholders for git do not
    count."""
    names = tuple(name.rstrip("/") for name in shared)
    return [path for path in files if below(path, names) and posixpath.basename(path) not in _PLACEHOLDERS]


def remarks(shared: Sequence[str], files: Iterable[str]) -> list[str]:
    """Return one warning that names what is not shipped; none where that is nothing."""
    paths = not_shipped(shared, files)
    if not paths:
        return []
    shown = ", ".join(paths[:SHOWN]) + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")
    return [
        f"not shipped, since shared: in deploy.yaml has the path: {shown}. A host gets them once, where its shared "
        "folder is missing or empty; later changes to them do not reach it"
    ]
