"""The uv of this machine, as the PyPI package brought it: it resolves here, and is given to hosts that lack it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.tags import parse_tag

from deployer.artifact.dependencies.host_python import HostPython
from deployer.artifact.program import Program

# uv's own wheels hold one executable that needs nothing but libc and libgcc, glibc ≥ 2.17 as their tag says.


@dataclass(frozen=True)
class UvBinary(Program):
    """uv. `platforms` are those of its wheel's tags (`manylinux_2_17_x86_64`)."""

    platforms: frozenset[str]

    def runs_on(self, host: HostPython) -> bool:
        """Return whether a host of that architecture and libc can run it."""
        return not self.platforms.isdisjoint(host.wheel_platforms)


def uv_here() -> UvBinary | None:
    """uv as it is installed beside this program; None when it is not."""
    try:
        from uv import find_uv_bin

        distribution = metadata.distribution("uv")
        path = Path(find_uv_bin())
    except (ImportError, FileNotFoundError, metadata.PackageNotFoundError):
        return None
    tags = re.findall(r"^Tag: (\S+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    platforms = frozenset(tag.platform for tag_set in tags for tag in parse_tag(tag_set))
    return UvBinary("uv", path, distribution.version, platforms)
