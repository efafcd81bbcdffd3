"""What is read from a git work tree, by git itself; nothing in the repository is written."""

from __future__ import annotations

import os
import shlex
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer import local_program
from deployer.agent.system.process_runner import Finished
from deployer.errors import UsageError

_LINK_MODE = "160000"  # a submodule in `git ls-tree`
_LFS = b"version https://git-lfs.github.com/spec/v1\n"
_TIMEOUT_S = 300.0
_EXPORT_TIMEOUT_S = 1800.0
_LFS_LARGEST = 1024  # bytes; a pointer is smaller


_PLACING = frozenset(
    {
        "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX",
        "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_NAMESPACE",
        "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
        "GIT_REPLACE_REF_BASE", "GIT_ATTR_SOURCE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS",
        "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
    }
)  # fmt: skip
"""Set inside a git hook, these name another repository. All others are the user's: configuration, ssh, credentials."""
_SAME_BYTES = (
    "-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", f"core.attributesFile={os.devnull}",
    # modes are the same whether or not this Python filters
    "-c", "tar.umask=0022",
)  # fmt: skip
"""What makes an export the same for everybody: a person's settings for line ends do not count."""


@dataclass(frozen=True)
class Export:
    """The files of a commit. `path` is where the source lies; `left_out` are files that `export-ignore` keeps back."""

    path: Path
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    """One line of `git ls-tree`."""

    mode: str
    object: str
    path: str

    @property
    def is_submodule(self) -> bool:
        return self.mode == _LINK_MODE


@dataclass(frozen=True)
class Repository:
    """A work tree. `top` is its root folder; `prefix` is where in it the source lies: empty, or ending in `/`."""

    top: Path
    prefix: str

    @classmethod
    def at(cls, path: Path) -> Repository | None:
        """Find the work tree that `path` lies in.

        Returns:
            None if there is no `.git` in `path` or above it, or if git ignores `path`.

        Raises:
            UsageError: there is a `.git`, and git is not installed or cannot read it. Without git nobody knows which
                files are committed, so files that must stay private could be shipped.
        """
        answer = _git(path, ["rev-parse", "--show-toplevel", "--show-prefix"])
        if not answer.ok:
            _refuse_dubious(path, answer.stderr)
            _refuse_unreadable(path, answer)
            return None
        top, prefix = answer.stdout.split("\n")[:2]
        if prefix and _git(Path(top), ["check-ignore", "-q", prefix]).ok:
            return None
        return cls(Path(top), prefix)

    def commit(self, ref: str) -> str:
        """Return the full hash of the commit a ref names; UsageError if there is none."""
        result = _git(self.top, ["rev-parse", "--verify", "--quiet", "--end-of-options", ref + "^{commit}"])
        if result.ok:
            return result.stdout.strip()
        if ref == "HEAD":
            raise UsageError(
                "nothing is committed yet, and a push ships only commits",
                file=str(self.top),
                hint="git add -A && git commit",
                code="source",
            )
        raise UsageError(f"{ref} names no commit", file=str(self.top), hint="git branch -a; git tag; git fetch")

    def named(self, name: str) -> str | None:
        """Return the full hash of the commit that a tag or a branch names; None for any other word."""
        for kind in ("tags", "heads", "remotes"):
            result = _git(self.top, ["rev-parse", "--verify", "--quiet", f"refs/{kind}/{name}^{{commit}}"])
            if result.ok:
                return result.stdout.strip()
        return None

    def changed(self) -> tuple[str, ...]:
        """Return paths below `prefix` that differ from HEAD, are staged or are not known to git, relative to `prefix`.

        A folder of which git knows nothing is one path, with a slash at its end.
        """
        words = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames", "--", self.prefix or "."]
        lines = _must(self.top, words).split("\0")
        names = (line[3:] for line in lines if line)
        return tuple(sorted(name.removeprefix(self.prefix) for name in names))

    def local_attributes(self) -> Path | None:
        """Return the file with git attributes of this clone alone, if it has any: no option makes `git archive` ignore
        it."""
        path = self.top / _must(self.top, ["rev-parse", "--git-path", "info/attributes"]).rstrip("\n")
        try:
            lines = path.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return None
        return path if any(line.strip() and not line.startswith("#") for line in lines) else None

    def export(self, commit: str, into: Path) -> Export:
        """Write the tree of a commit below `into`, submodules included.

        Raises:
            UsageError: there is nothing at `prefix` in that commit; a submodule is not checked out here.
        """
        prefix = self.prefix.rstrip("/")
        if prefix and not _must(self.top, ["ls-tree", commit, "--", prefix]):
            raise UsageError(
                f"{prefix} is not in commit {commit[:12]}",
                file=str(self.top),
                hint="git add -A && git commit",
                code="source",
            )
        left_out = _export(self.top, commit, into, [prefix] if prefix else [])
        return Export(into / prefix, tuple(sorted(path.removeprefix(self.prefix) for path in left_out)))


def lfs_pointers(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the paths whose content is still a Git LFS pointer."""
    pointers = []
    for path in paths:
        full = root / path
        if full.is_symlink() or full.stat().st_size > _LFS_LARGEST:
            continue
        with open(full, "rb") as file:
            if file.read(len(_LFS)) == _LFS:
                pointers.append(path)
    return pointers


def _export(repository: Path, commit: str, into: Path, below: Sequence[str]) -> list[str]:
    """Write the files of a commit, and return those that `export-ignore` leaves out.

    Raises:
        UsageError: its tree would lead out of `into`; nothing was written.
    """
    entries = _entries(repository, commit, below)
    _require_sound(repository, entries)
    with tempfile.NamedTemporaryFile(prefix=".deploy-", suffix=".tar", dir=into) as file:
        words = [*_SAME_BYTES, "archive", "--format=tar", f"--output={file.name}", commit, "--", *below]
        # a partial clone fetches what it lacks, and may ask for a passphrase
        done = local_program.run_at_terminal(
            ["git", "-C", str(repository), *words], timeout=_EXPORT_TIMEOUT_S, env=_environ()
        )
        if not done.ok:
            raise _failure("git could not export the commit", repository, done)
        try:
            _unpack(file.name, into)
        except (tarfile.TarError, OSError, UnicodeError) as error:
            raise UsageError(
                "the commit cannot be checked out here",
                file=str(repository),
                cause=str(error),
                hint="git fsck shows whether its tree is sound",
                code="source",
            ) from None
    left_out = [entry.path for entry in entries if not entry.is_submodule and not os.path.lexists(into / entry.path)]
    for entry in entries:
        if entry.is_submodule:
            inner = _export_submodule(repository, entry.path, entry.object, into)
            left_out += [f"{entry.path}/{path}" for path in inner]
    return left_out


def _require_sound(repository: Path, entries: Sequence[_Entry]) -> None:
    """Raise UsageError for a tree that a checkout would refuse, such as one with files below a symbolic link.

    Git fetches such trees without a word; tar would write what lies below the link to where it points.
    """
    leaves = {entry.path for entry in entries}
    twice = len(leaves) != len(entries)
    for entry in entries:
        parts = entry.path.split("/")
        above = ("/".join(parts[:end]) for end in range(1, len(parts)))
        reserved = any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
        if reserved or twice or not leaves.isdisjoint(above):
            raise UsageError(
                "the commit cannot be checked out here",
                file=str(repository),
                cause=f"its tree names {entry.path!r} in a way that leads out of the checkout"
                if not twice
                else "its tree names one path twice",
                hint="git fsck shows what is wrong with its tree",
                code="source",
            )


def _unpack(archive_path: str, into: Path) -> None:
    with tarfile.open(archive_path, mode="r:") as archive:
        # links stay as they are: the manifest judges them; nothing is written through one
        if hasattr(tarfile, "tar_filter"):  # Debian 12's Python 3.11.2 has none
            archive.extraction_filter = tarfile.tar_filter
        archive.extractall(into)  # noqa: S202  # see above


def _export_submodule(repository: Path, path: str, commit: str, into: Path) -> list[str]:
    folder = repository / path
    known = folder.joinpath(".git").exists() and _git(folder, ["cat-file", "-e", commit + "^{commit}"]).ok
    if not known:
        raise UsageError(
            f"submodule {path} is not checked out at commit {commit[:12]}",
            file=str(repository),
            hint="git submodule update --init --recursive, or leave it out with source: {exclude: […]}",
            code="source",
        )
    target = into / path
    target.mkdir(parents=True, exist_ok=True)
    return _export(folder, commit, target, [])


def _entries(repository: Path, commit: str, below: Sequence[str]) -> list[_Entry]:
    lines = _must(repository, ["ls-tree", "-r", "-z", commit, "--", *below]).split("\0")
    entries = []
    for line in filter(None, lines):
        head, _, path = line.partition("\t")
        mode, _, name = head.split(" ")
        entries.append(_Entry(mode, name, path))
    return entries


def _must(folder: Path, words: Sequence[str]) -> str:
    done = _git(folder, words)
    if not done.ok:
        raise _failure(f"git {words[0]} failed", folder, done)
    return done.stdout


def _git(folder: Path, words: Sequence[str]) -> Finished:
    return local_program.run(["git", "-C", str(folder), *words], timeout=_TIMEOUT_S, env=_environ())


def _failure(message: str, folder: Path, done: Finished) -> UsageError:
    cause = done.why if done.timed_out else done.stderr.strip() or done.why
    return UsageError(message, file=str(folder), cause=cause, code="source")


def _environ() -> dict[str, str]:
    """Return the user's own environment, but for what would place the repository elsewhere or change what is
    exported."""
    kept = {name: value for name, value in os.environ.items() if name not in _PLACING}
    fixed = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_ATTR_NOSYSTEM": "1", "GIT_NO_REPLACE_OBJECTS": "1"}
    return {**kept, **fixed}


def _refuse_dubious(path: Path, output: str) -> None:
    if "dubious ownership" in output:
        raise UsageError(
            "git refuses this work tree because another user owns it",
            file=str(path),
            hint=f"git config --global --add safe.directory {_trusted(path)}",
            code="source",
        )


def _refuse_unreadable(path: Path, answer: Finished) -> None:
    marker = _marker(path)
    if marker is None:
        return
    if not answer.started:
        raise UsageError(
            "the source is a git repository, but git is not installed",
            file=str(marker),
            cause="without git, a push would also ship uncommitted and ignored files",
            hint="apt-get install git",
            code="source",
        )
    raise UsageError(
        "git cannot read the repository that the source lies in",
        file=str(marker),
        cause=answer.why if answer.timed_out else answer.stderr.strip() or answer.why,
        hint=f"git -C {shlex.quote(str(path))} status",
        code="source",
    )


def _marker(path: Path) -> Path | None:
    """Return the `.git` in `path` or the nearest folder above it; like git, it does not look on other file systems."""
    device = path.stat().st_dev
    for folder in (path, *path.parents):
        if folder.stat().st_dev != device:
            return None
        if os.path.lexists(folder / ".git"):
            return folder / ".git"
    return None


def _trusted(path: Path) -> Path:
    """Return the folder that git wants to be named: the top of the work tree."""
    return next((folder for folder in (path, *path.parents) if (folder / ".git").exists()), path)
