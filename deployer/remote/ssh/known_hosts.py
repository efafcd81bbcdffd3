"""known_hosts files, read line by line: one line that paramiko does not know must not void all others.

Format: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. `@cert-authority` lines are skipped: certificates of hosts are not checked
here, so their hosts count as unknown until their plain key is pinned.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One key of one line: the names it is for (patterns or one hash), its type, the key itself, whether revoked."""

    names: str
    kind: str
    blob: bytes
    revoked: bool

    def matches(self, name: str) -> bool:
        """Return whether the line is about `name` (`web1` or `[web1]:2222`)."""
        if self.names.startswith("|1|"):
            return _hash_matches(self.names, name)
        matched = False
        for pattern in self.names.lower().split(","):
            if pattern.startswith("!"):
                if _glob(pattern[1:], name):
                    return False
            elif _glob(pattern, name):
                matched = True
        return matched


@dataclass(frozen=True)
class KnownHosts:
    """The known keys. `warnings` lists skipped lines, with file and line."""

    lines: tuple[Line, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, paths: Iterable[str]) -> KnownHosts:
        """Read the files that exist; `~` is expanded."""
        lines: list[Line] = []
        warnings: list[str] = []
        for path in dict.fromkeys(os.path.expanduser(path) for path in paths):
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    _parse(path, file, lines, warnings)
            except FileNotFoundError:
                continue
            except OSError as error:
                warnings.append(f"{path}: {error.strerror}")
        return cls(tuple(lines), tuple(warnings))

    def trusted(self, names: Iterable[str]) -> dict[str, set[bytes]]:
        """Return the keys known for any of `names`, by type."""
        keys: dict[str, set[bytes]] = {}
        for line in self._about(names):
            if not line.revoked:
                keys.setdefault(line.kind, set()).add(line.blob)
        return keys

    def is_revoked(self, names: Iterable[str], blob: bytes) -> bool:
        """Return whether this key is marked as revoked for any of `names`."""
        return any(line.revoked and line.blob == blob for line in self._about(names))

    def _about(self, names: Iterable[str]) -> list[Line]:
        wanted = [name.lower() for name in names]
        return [line for line in self.lines if any(line.matches(name) for name in wanted)]


def host_names(hostname: str, port: int, alias: str | None = None) -> tuple[str, ...]:
    """Return the names under which a host's key may be known, as OpenSSH looks for them: alias, `[host]:port`, host."""
    if alias:
        return (alias,)
    return (hostname,) if port == 22 else (f"[{hostname}]:{port}", hostname)


def fingerprint(blob: bytes) -> str:
    """`SHA256:…`, as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _parse(path: str, file: Iterable[str], lines: list[Line], warnings: list[str]) -> None:
    for number, text in enumerate(file, 1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if marker == "@cert-authority":
            warnings.append(f"{path}:{number}: certificate authorities are not supported; run deploy trust {{env}}")
            continue
        try:
            names, kind, key = words[:3]
            blob = base64.b64decode(key, validate=True)
        except (ValueError, binascii.Error):
            warnings.append(f"{path}:{number}: not a host key line")
            continue
        if marker not in ("", "@revoked"):
            warnings.append(f"{path}:{number}: unknown marker {marker}")
            continue
        lines.append(Line(names, kind, blob, marker == "@revoked"))


def _glob(pattern: str, name: str) -> bool:
    """OpenSSH's patterns know `*` and `?`; brackets are literal (`[host]:port`)."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        _, _, salt, digest = hashed.split("|")
        made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(made, base64.b64decode(digest))
    except (ValueError, binascii.Error):
        return False
