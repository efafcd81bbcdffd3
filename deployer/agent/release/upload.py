"""The content that a release is made of, gathered by hash in `.deploy/incoming/<id>` before anything is assembled.

Unchanged files come from earlier complete releases, the rest over the channel. A blob is named `<sha256>-<mode>` or,
as it came over the channel, `<sha256>`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

from deployer.agent.model.layout import Site
from deployer.agent.model.manifest import NAME, OLD_NAME, Entry, Manifest
from deployer.agent.operation import OpError
from deployer.agent.system import tree

_CHUNK = 1 << 18


class BlobStore:
    """The blobs of one release that is being made."""

    def __init__(self, site: Site, release: str) -> None:
        self.site = site
        self.parent = site.incoming
        self.path = self.parent + "/" + release

    def reset(self, manifest: Manifest) -> None:
        """Starts anew: whatever an earlier attempt gathered, for this release or another, is gone."""
        tree.remove(self.parent)
        os.makedirs(self.path, 0o700)
        with open(self.path + "/" + NAME, "wb") as file:
            file.write(manifest.as_bytes())

    def manifest(self) -> Manifest:
        """The manifest that `release.begin` brought; OpError `not_begun` if there is none."""
        try:
            with open(self.path + "/" + NAME, "rb") as file:
                return Manifest.from_bytes(file.read())
        except (OSError, ValueError):
            raise OpError("not_begun", "this release was not begun", "deploy {command} {env}") from None

    def reuse(self, manifest: Manifest, releases: list[str]) -> int:
        """Links what earlier releases hold unchanged, after its hash was checked; how many files that were.

        Args:
            releases: ids of complete releases, the likeliest first.
        """
        keys = {(entry.sha256, entry.mode) for entry in manifest.files.values() if entry.target is None}
        reused = 0
        for release in releases:
            if not keys:
                break
            for path, entry in self._files_of(release):
                key = (entry.sha256, entry.mode)
                if key in keys and self._take(path, entry):
                    keys.discard(key)
                    reused += 1
        return reused

    def missing(self, manifest: Manifest, with_wheels: bool) -> dict[str, int]:
        """Content hashes that are still to come, with their sizes in bytes."""
        present = {name.partition("-")[0] for name in os.listdir(self.path)}
        sizes = manifest.blobs() if with_wheels else Manifest(manifest.files).blobs()
        return {sha: size for sha, size in sizes.items() if sha not in present}

    def unpack(self, chunks: Iterator[bytes], expected_sizes: dict[str, int]) -> tuple[int, int]:
        """Writes the blobs of a gzip'd tar stream; how many and their bytes.

        Raises:
            OpError `corrupt`: the stream is broken, or a blob is not what its name says, was not asked for, or is
                missing at the end. Nothing of the stream is kept then.
        """
        taken: set[str] = set()
        try:
            size = self._unpack(chunks, expected_sizes, taken)
        except BaseException as error:
            for sha in taken:
                tree.remove(self.path + "/" + sha)
            if isinstance(error, (tarfile.TarError, EOFError, zlib.error)):
                raise _corrupt(f"the stream broke: {error}") from None
            raise
        return len(taken), size

    def place(self, entry: Entry, target: str, own_copy: bool, created: float) -> None:
        """Puts a blob at `target`: a link to it, or a copy of its own when it may be written to. OSError if it cannot.

        Content that is new here gets the time `created` of its release, the same on every host; what was here keeps
        its own. So web servers agree on a file's tag, and it changes when the content does.
        """
        moded = f"{self.path}/{entry.sha256}-{entry.mode:04o}"
        if not os.path.exists(moded):
            self._give_mode(entry, moded, created)
        (tree.copy if own_copy else tree.link)(moded, target, entry.mode)

    def place_wheels(self, manifest: Manifest) -> str:
        """A folder with the wheels under their own names; empty text when none came."""
        if not manifest.wheels:
            return ""
        folder = self.path + "/wheels"
        tree.remove(folder)
        os.mkdir(folder)
        for name, entry in manifest.wheels.items():
            self.place(entry, folder + "/" + name, own_copy=False, created=0)
        return folder

    def drop(self) -> None:
        """Forgets the blobs; those in a release stay there."""
        tree.remove(self.path)

    def _unpack(self, chunks: Iterator[bytes], expected_sizes: dict[str, int], taken: set[str]) -> int:
        total = 0
        stream: Any = _Stream(chunks)
        with tarfile.open(fileobj=stream, mode="r|gz") as archive:
            for member in archive:
                if (
                    member.name not in expected_sizes
                    or not member.isreg()
                    or member.size != expected_sizes[member.name]
                ):
                    raise _corrupt(f"it holds {member.name!r}, which was not asked for")
                taken.add(member.name)
                source = archive.extractfile(member)
                if source is None:
                    raise _corrupt(f"{member.name} has no content")
                self._write(source, member.name)
                total += member.size
        absent = sorted(set(expected_sizes) - taken)
        if absent:
            raise _corrupt("%d of %d files are missing, first %s" % (len(absent), len(expected_sizes), absent[0]))
        for _ in chunks:  # the archive's padding
            pass
        return total

    def _write(self, source: IO[bytes], sha: str) -> None:
        seen = hashlib.sha256()
        with open(self.path + "/" + sha, "wb") as file:
            for chunk in iter(lambda: source.read(_CHUNK), b""):
                seen.update(chunk)
                file.write(chunk)
        if seen.hexdigest() != sha:
            raise _corrupt(f"the content of {sha} has the hash {seen.hexdigest()}")

    def _files_of(self, release: str) -> Iterator[tuple[str, Entry]]:
        folder = self.site.release(release)
        for name in (NAME, OLD_NAME):
            try:
                with open(folder + "/" + name, "rb") as file:
                    files = Manifest.from_bytes(file.read(), shipped=False).files
                break
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError):
                return
        else:
            return
        for path, entry in files.items():
            if entry.target is None:
                yield folder + "/" + path, entry

    def _take(self, path: str, entry: Entry) -> bool:
        """Links one file of an earlier release, if it is still what its manifest says."""
        target = f"{self.path}/{entry.sha256}-{entry.mode:04o}"
        try:
            status = os.lstat(path)
            executable = bool(status.st_mode & 0o100)
            if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size or executable != (entry.mode == 0o755):
                return False
            tree.link(path, target, entry.mode)
        except FileNotFoundError:
            return False
        if tree.digest(target) != entry.sha256:  # looked at under its new name, where nobody exchanges it
            os.unlink(target)
            return False
        return True

    def _give_mode(self, entry: Entry, moded: str, created: float) -> None:
        fresh = self.path + "/" + entry.sha256
        other = f"{fresh}-{0o755 if entry.mode == 0o644 else 0o644:04o}"
        if os.path.exists(fresh):
            os.chmod(fresh, entry.mode)
            os.utime(fresh, (created, created))
            os.rename(fresh, moded)
            return
        if os.path.exists(other):  # the same content under another mode: an inode has but one
            tree.copy(other, moded, entry.mode)
            return
        raise OpError("corrupt", f"content {entry.sha256} did not arrive", "deploy {command} {env}")


class _Stream:
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, empty at the end."""
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return b""
        end = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:end], self._rest[end:]
        return taken


def _corrupt(why: str) -> OpError:
    return OpError("corrupt", "the files did not arrive whole: " + why, "deploy {command} {env}")
