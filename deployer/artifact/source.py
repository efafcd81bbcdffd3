"""The tree that is shipped: a clean checkout of a commit in a folder of its own, or a copy-free view of any folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployer.agent.model.manifest import Manifest
from deployer.artifact import git
from deployer.artifact.manifest import scan
from deployer.artifact.scratch import scratch
from deployer.errors import DeployError, UsageError
from deployer.settings.models import Source
from deployer.settings.patterns import Exclude

PREFIX = "deploy-tree-"


@dataclass(frozen=True)
class SourceTree:
    """What is shipped.

    `path` is the folder; for a git work tree it is a private checkout, so a hook may write there.
    `commit` and `ref` are None for a plain folder. `dirty` names files of the work tree that differ from HEAD and
    therefore are not as in `path`. `top` is the checkout's root (`path` may be a folder below it). `left_out` are files
    of the commit that `export-ignore` keeps back; `local_attributes` is a file of this clone that changes exports.
    """

    path: Path
    top: Path
    commit: str | None
    ref: str | None
    dirty: tuple[str, ...]
    exclude: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    local_attributes: Path | None = None

    def manifest(self) -> Manifest:
        """Return every path with its hash. UsageError names what cannot be shipped: links that leave, LFS pointers."""
        manifest = scan(self.path, self.exclude)
        if self.commit:
            regular = [path for path, entry in manifest.files.items() if entry.target is None]
            pointers = git.lfs_pointers(self.path, regular)
            if pointers:
                raise UsageError(
                    f"{len(pointers)} file(s) are Git LFS pointers, not content",
                    cause=", ".join(pointers[:8]),
                    hint="install git-lfs, then git lfs install && git lfs fetch, then type deploy push {env}",
                    code="source",
                )
        return manifest


@contextmanager
def resolve(source: Source, base: Path, ref: str | None = None, *, private: bool = False) -> Iterator[SourceTree]:
    """The tree that `source` names, for as long as the context lasts.

    Args:
        source: `source` of the settings; its path is relative to `base`, the folder of deploy.yaml.
        ref: branch, tag or commit; HEAD by default. Only a git work tree has any.
        private: a plain folder is copied first, because a build hook will write into it.

    Raises:
        UsageError: no such folder, ref or subdir; a submodule that is not here.
    """
    folder = (base / source.path).resolve()
    if not folder.is_dir():
        raise UsageError(
            f"source: the folder {folder} does not exist", hint="source: {path: …} in deploy.yaml", code="source"
        )
    repository = git.Repository.at(folder)
    if repository is None and ref is not None:
        raise UsageError(f"{folder} is not a git work tree, so --ref {ref} cannot apply", hint="leave --ref out")
    if repository is None and not private:
        shipped = _subdir(folder, source.subdir)
        yield SourceTree(shipped, folder, None, None, (), source.exclude)
        return
    with scratch(PREFIX) as into:
        if repository is None:
            tree = _copy(folder, source, into)
        else:
            tree = _checkout(repository, source, ref or "HEAD", into)
        try:
            yield tree
        except DeployError as error:
            _name_origin(error, tree, folder)
            raise


def _name_origin(error: DeployError, tree: SourceTree, folder: Path) -> None:
    """Names the folder that a person knows, and the commit, in place of the checkout, which is gone by then."""
    checkout = str(tree.top)
    if error.file and checkout in error.file:
        commit = f" (commit {tree.commit[:12]})" if tree.commit else ""
        error.file = error.file.replace(checkout, str(folder)) + commit
    error.message = error.message.replace(checkout, str(folder))
    error.cause = error.cause and error.cause.replace(checkout, str(folder))
    error.hint = error.hint and error.hint.replace(checkout, str(folder))


def _checkout(repository: git.Repository, source: Source, ref: str, into: Path) -> SourceTree:
    commit = repository.commit(ref)
    dirty = repository.changed()
    export = repository.export(commit, into)
    shipped = _subdir(export.path, source.subdir)
    return SourceTree(
        shipped,
        export.path,
        commit,
        ref,
        dirty,
        source.exclude,
        left_out=export.left_out,
        local_attributes=repository.local_attributes(),
    )


def _copy(folder: Path, source: Source, into: Path) -> SourceTree:
    left_out = Exclude(source.exclude)

    def ignored(parent: str, names: list[str]) -> set[str]:
        at = Path(parent)
        paths = {name: (at / name).relative_to(folder).as_posix() for name in names}
        return {name for name, path in paths.items() if left_out(path, (at / name).is_dir())}

    top = into / "source"
    shutil.copytree(folder, top, symlinks=True, ignore=ignored)
    return SourceTree(_subdir(top, source.subdir), top, None, None, (), source.exclude)


def _subdir(top: Path, subdir: str) -> Path:
    path = (top / subdir).resolve()
    if not path.is_dir() or not path.is_relative_to(top.resolve()):
        raise UsageError(f"source: its folder {subdir} does not exist", hint="source: {subdir: …}", code="source")
    return path
