"""The uv of this machine, as the PyPI package brought it: it resolves here, and is given to hosts that lack it."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

from packaging.tags import parse_tag

from deployer.artifact.host_python import HostPython

# uv's own wheels hold one executable that needs nothing but libc and libgcc, glibc ≥ 2.17 as their tag says.


@dataclass(frozen=True)
class UvBinary:
    """One executable. `platforms` are those of its wheel's tags (`manylinux_2_17_x86_64`)."""

    path: Path
    version: str
    platforms: frozenset[str]

    def runs_on(self, host: HostPython) -> bool:
        """Whether a host of that architecture and libc can run it."""
        return not self.platforms.isdisjoint(host.wheel_platforms)

    @property
    def named(self) -> dict[str, str]:
        """The arguments of `tool.has` and `tool.put`."""
        return {"name": "uv", "version": self.version, "sha": self.sha256}

    @cached_property
    def sha256(self) -> str:
        """Of the executable, in hex."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def packed(self) -> bytes:
        """The executable, gzip'd: half its size. More effort saves a twelfth of that and takes five times as long."""
        return gzip.compress(self.path.read_bytes(), compresslevel=1, mtime=0)


def uv_here() -> UvBinary | None:
    """uv as it is installed beside this program; None when it is not."""
    try:
        from uv import find_uv_bin

        distribution = metadata.distribution("uv")
        path = Path(find_uv_bin())
    except (ImportError, FileNotFoundError, metadata.PackageNotFoundError):
        return None
    tags = re.findall(r"^Tag: (\S+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    platforms = frozenset(tag.platform for each in tags for tag in parse_tag(each))
    return UvBinary(path, distribution.version, platforms)
