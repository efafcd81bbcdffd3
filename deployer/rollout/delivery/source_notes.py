"""What a person should know of the source before it is shipped: what is not in it, and what is used all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from deployer.artifact.source import SourceTree
from deployer.rollout.run.project import Project
from deployer.settings.patterns import Exclude

_SHOWN = 5


def source_notes(project: Project, tree: SourceTree) -> Iterator[str]:
    """One sentence each; none where the work tree is as the commit, and the whole commit is shipped."""
    used, missing = _uncommitted(project, tree)
    if missing:
        yield f"not committed, so not part of this: {_some(missing)}"
    other_settings = _settings_differ(project, tree)
    if other_settings:
        name = project.loaded.path.name
        yield f"the settings are those of {name} here; {tree.ref or 'HEAD'} has others"
    used = [name for name in used if not (other_settings and Path(name).name == project.loaded.path.name)]
    if used:
        yield f"not committed, but used as it is here: {_some(used)}"
    left_out = [path for path in tree.left_out if not path.endswith((".gitattributes", ".gitignore"))]
    if left_out:
        yield f"export-ignore in .gitattributes keeps back: {_some(left_out)}"
    if tree.local_attributes:
        yield f"{tree.local_attributes} is of this clone alone, and may change what is shipped"


def _uncommitted(project: Project, tree: SourceTree) -> tuple[list[str], list[str]]:
    """Uncommitted files that this command reads from the work tree, and those that would be shipped."""
    folder = (project.base / project.topology.settings.source.path).resolve()
    read = [path.resolve() for path in project.loaded.sources]
    read += [(project.base / name).resolve() for name in ("inventories", *project.topology.settings.checks)]
    excluded = Exclude(tree.exclude)
    used, missing = [], []
    for name in tree.dirty:
        path = folder / name
        if any(path == known or known in path.parents or path in known.parents for known in read):
            used.append(name)
        elif not any(excluded(part, folder=True) for part in _leading(name)):
            missing.append(name)
    return used, missing


def _leading(name: str) -> list[str]:
    """A path and every folder above it: what is below an excluded folder is excluded too."""
    parts = name.rstrip("/").split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _settings_differ(project: Project, tree: SourceTree) -> bool:
    committed = tree.top / project.loaded.path.name
    return bool(tree.commit and committed.is_file() and committed.read_bytes() != project.loaded.path.read_bytes())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
