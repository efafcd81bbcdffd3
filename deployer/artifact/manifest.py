"""A source tree as a manifest of content hashes, and the one stream that carries what a host is missing."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from deployer.agent.model.manifest import Entry, Manifest, escapes, obstructed, problem, reserved
from deployer.errors import SettingsError, UsageError
from deployer.settings.patterns import Exclude

CHUNK = 256 * 1024
_BLOCK = tarfile.BLOCKSIZE
_SHOWN = 8  # paths named in an error


def scan(root: Path, exclude: Sequence[str] = ()) -> Manifest:
    """Return the manifest of a folder. Empty folders are not shipped, as in git.

    Raises:
        UsageError: a link is absolute or leaves the folder, a name is not UTF-8, something is neither file nor link,
            or a name is one that deploy writes itself. All of them are named.
    """
    left_out = Exclude(exclude)
    files: dict[str, Entry] = {}
    refused: list[str] = []
    for path, full in _walk(str(root), "", left_out):
        try:
            files[path] = _entry(path, full)
        except ValueError as error:
            shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            refused.append(f"{shown}: {error}")
    if refused:
        raise UsageError(
            f"{len(refused)} path(s) in the source cannot be shipped",
            file=str(root),
            cause="; ".join(refused[:_SHOWN]) + (" …" if len(refused) > _SHOWN else ""),
            hint="rename them, or leave them out: source: {exclude: [PATH]} in deploy.yaml",
            code="source",
        )
    return Manifest(dict(sorted(files.items())))


def require_room_for_shared(shared: Sequence[str], manifest: Manifest) -> None:
    """Raise SettingsError where a shared path lies below a file or a link of the source."""
    conflict = obstructed(shared, manifest.files)
    if conflict:
        raise SettingsError(
            f"shared: {conflict[0]} lies below {conflict[1]}, which is a file or a link in the source",
            hint=f"rename {conflict[1]} in the source, or share another path",
        )


def with_wheels(manifest: Manifest, folder: Path) -> Manifest:
    """Return the manifest with every wheel in `folder` beside its files."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".whl"))
    return Manifest(manifest.files, {name: _entry(name, str(folder / name)) for name in names})


def digest(manifest: Manifest) -> str:
    """Return one hash over all paths, modes and contents, without the wheels: equal trees have equal digests."""
    return hashlib.sha256(Manifest(manifest.files).as_bytes()).hexdigest()


def pack(manifest: Manifest, missing: Collection[str], root: Path, wheels: Path | None = None) -> Iterator[bytes]:
    """Return the blobs with these hashes as a gzip'd tar (level 1), in chunks of 256 KB; memory stays bounded.

    Args:
        missing: what `release.begin` asked for.
        root: the folder that was scanned; `wheels`: that of the wheels.

    Raises:
        UsageError: a file is no longer what it was when the manifest was made.
    """
    wanted = set(missing)
    sources: dict[str, tuple[Path, int]] = {}
    for folder, entries in ((root, manifest.files), (wheels, manifest.wheels)):
        for path, entry in entries.items():
            if folder is not None and entry.target is None and entry.sha256 in wanted:
                sources.setdefault(entry.sha256, (folder / path, entry.size))
    unknown = wanted - set(sources)
    if unknown:
        raise UsageError(f"the host requested {len(unknown)} file(s) that are not in the manifest", code="source")
    return _chunks(_compressed(_tar(sources)))


def _walk(root: str, below: str, left_out: Exclude) -> Iterator[tuple[str, str]]:
    with os.scandir(f"{root}/{below}" if below else root) as iterator:
        entries = sorted(iterator, key=lambda entry: entry.name)
    for entry in entries:
        path = below + entry.name
        folder = entry.is_dir(follow_symlinks=False)
        if left_out(path, folder):
            continue
        if folder:
            yield from _walk(root, path + "/", left_out)
        else:
            yield path, entry.path


def _entry(path: str, full: str) -> Entry:
    """Return one file or link. Raises ValueError that says why it cannot be shipped."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("its name is not UTF-8") from None
    why = problem(path) or reserved(path)
    if why:
        raise ValueError(why)
    status = os.lstat(full)
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(full)
        why = escapes(path, target)
        if why:
            raise ValueError(f"it is a link to {target}, and {why}")
        return Entry(0, 0, "", target)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is neither a file nor a link")
    mode = 0o755 if status.st_mode & 0o100 else 0o644
    with open(full, "rb") as file:
        return Entry(mode, status.st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _tar(sources: dict[str, tuple[Path, int]]) -> Iterator[bytes]:
    for sha, (path, size) in sorted(sources.items()):
        header = tarfile.TarInfo(sha)
        header.size = size
        yield header.tobuf(tarfile.PAX_FORMAT)
        yield from _content(path, size, sha)
        yield b"\0" * (-size % _BLOCK)
    yield b"\0" * 2 * _BLOCK


def _content(path: Path, size: int, sha: str) -> Iterator[bytes]:
    seen, read = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while read < size and (data := file.read(min(CHUNK, size - read))):
            seen.update(data)
            read += len(data)
            yield data
    if read != size or seen.hexdigest() != sha:
        raise UsageError(
            f"{path.name} changed while it was shipped", file=str(path), hint="deploy push {env}", code="source"
        )


def _compressed(parts: Iterator[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for part in parts:
        yield squeeze.compress(part)
    yield squeeze.flush()


def _chunks(parts: Iterator[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for part in parts:
        pending += part
        while len(pending) >= CHUNK:
            yield bytes(pending[:CHUNK])
            del pending[:CHUNK]
    if pending:
        yield bytes(pending)
