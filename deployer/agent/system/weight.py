"""What the removal of trees would give back: files that have no other name outside of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator


def weigh(paths: Iterable[str]) -> tuple[int, int]:
    """Bytes on the disk and inodes that the trees alone have. A file with a hard link elsewhere gives nothing back."""
    names: dict[tuple[int, int], list[int]] = {}
    for path in paths:
        for status in _walk(path):
            known = names.setdefault((status.st_dev, status.st_ino), [0, status.st_nlink, status.st_blocks * 512])
            known[0] += 1
    alone = [size for seen, links, size in names.values() if seen >= links]
    return sum(alone), len(alone)


def _walk(path: str) -> Iterator[os.stat_result]:
    """The status of every file and link below a folder; folders, whose links count otherwise, are left out."""
    for folder, folders, files in os.walk(path):
        for name in [*files, *(subfolder for subfolder in folders if os.path.islink(folder + "/" + subfolder))]:
            try:
                yield os.lstat(folder + "/" + name)
            except FileNotFoundError:
                continue
