"""What a release consists of: every path with its mode, size and content hash. One format on both sides.

    {"v": 1,
     "files": {"shop/main.py": {"mode": "0644", "size": 120, "sha256": "…"},
               "static/logo":  {"target": "img/logo.svg"}},
     "wheels": {"h11-0.16.0-py3-none-any.whl": {"mode": "0644", "size": 37000, "sha256": "…"}}}

`wheels` are needed to build the virtualenv and do not become part of the release.
"""

from __future__ import annotations

import itertools
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

OURS = ".deploy-"
NAME = OURS + "manifest.json"
OLD_NAME = "manifest.json"
"""Where releases built by earlier versions have their manifest; in newer ones that file is the app's own."""
RUN = "run"
VENV = ".venv"
RESERVED = {
    RUN: "the script that starts an instance",
    VENV: "the link to the virtualenv",
    OURS: "files of its own",
}
"""What deploy itself puts at the top of a release: names, or how names begin. The app's source may not have them."""
LONGEST_NAME = 255
LONGEST_PATH = 3000  # bytes; Linux takes 4,096 with the release's folder before it
MODES = (0o644, 0o755)
_SHA = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Entry:
    """One path. A regular file has `mode` (0o644 or 0o755), `size` in bytes and `sha256`; a link only `target`."""

    mode: int = 0o644
    size: int = 0
    sha256: str = ""
    target: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON data."""
        if self.target is not None:
            return {"target": self.target}
        return {"mode": f"{self.mode:04o}", "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True)
class Manifest:
    """All paths of a release, relative and with `/`, and the wheels that come with it."""

    files: dict[str, Entry]
    wheels: dict[str, Entry] = field(default_factory=dict)

    def as_bytes(self) -> bytes:
        """The JSON form; equal manifests give equal bytes."""
        data: dict[str, Any] = {"v": 1, "files": {path: entry.as_dict() for path, entry in self.files.items()}}
        if self.wheels:
            data["wheels"] = {name: entry.as_dict() for name, entry in self.wheels.items()}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes, shipped: bool = True) -> Manifest:
        """Reads the JSON form; that of a finished release, where `shipped` is false, also names what deploy wrote.

        Raises ValueError naming what is wrong: a path that leaves the release, a bad hash.
        """
        try:
            raw = json.loads(data.decode("utf-8"))
            files = {str(path): _entry(value) for path, value in raw["files"].items()}
            wheels = {str(name): _entry(value) for name, value in raw.get("wheels", {}).items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from None
        for path, entry in files.items():
            _check(path, entry, shipped)
            if any(parent in files for parent in _parents(path)):
                raise ValueError(f"{path!r} lies below a file or a link")
        for name, entry in wheels.items():
            if entry.target is not None or "/" in name or not name.endswith(".whl"):
                raise ValueError(f"{name!r} is not a wheel")
        return cls(files, wheels)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def blobs(self) -> dict[str, int]:
        """Every content hash with its size in bytes, wheels included."""
        entries = list(self.files.values()) + list(self.wheels.values())
        return {entry.sha256: entry.size for entry in entries if entry.target is None}


def problem(path: str) -> str | None:
    """Why a relative path cannot be part of a release; None if it can."""
    parts = path.split("/")
    if not path or "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "it is not a plain relative path"
    encoded = path.encode("utf-8", "surrogateescape")
    if len(encoded) > LONGEST_PATH or any(len(part) > LONGEST_NAME for part in encoded.split(b"/")):
        return "its name is too long: %d bytes a name and %d a path are possible" % (LONGEST_NAME, LONGEST_PATH)
    return None


def reserved(path: str) -> str | None:
    """Why a path of the app's source cannot be at the top of a release; None if it can."""
    top = path.split("/")[0]
    for name, what in RESERVED.items():
        if top == name or (name == OURS and top.startswith(OURS)):
            return f"deploy itself puts {what} there ({name + '*' if name == OURS else name})"
    return None


def escapes(path: str, target: str) -> str | None:
    """Why the link `path` → `target` must not be shipped; None if it stays inside the release."""
    if target.startswith("/"):
        return "it is absolute"
    if not target or "\0" in target:
        return "it has no usable target"
    depth = len([part for part in posixpath.dirname(path).split("/") if part])
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = len(list(itertools.takewhile(lambda part: part == "..", parts)))
    if up > depth:
        return "it leaves the release"
    # `..` after a name that is itself a link goes who knows where
    return "it has .. behind a name" if ".." in parts[up:] else None


def below(path: str, folders: tuple[str, ...]) -> bool:
    """Whether `path` is one of `folders` or lies in one."""
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def obstructed(shared: Iterable[str], files: Mapping[str, Entry]) -> tuple[str, str] | None:
    """The first shared path that lies below a file or link of the source, and that file; None if there is none."""
    for path in shared:
        for parent in _parents(path.rstrip("/")):
            if parent in files:
                return path, parent
    return None


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _entry(value: dict[str, Any]) -> Entry:
    if "target" in value:
        return Entry(0, 0, "", str(value["target"]))
    entry = Entry(int(value["mode"], 8), int(value["size"]), str(value["sha256"]))
    if entry.mode not in MODES or entry.size < 0 or not _SHA.match(entry.sha256):
        raise ValueError(f"a file has a bad mode, size or hash: {value!r}")
    return entry


def _check(path: str, entry: Entry, shipped: bool) -> None:
    why = problem(path) or (reserved(path) if shipped else None)
    if why is None and entry.target is not None:
        why = escapes(path, entry.target)
    if why:
        raise ValueError(f"{path!r} cannot be in a release: {why}")
