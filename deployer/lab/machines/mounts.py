"""What is mounted below a folder, and unmounting it."""

from __future__ import annotations

import re
from pathlib import Path

from deployer.errors import DeployError
from deployer.lab.commands import attempt, wait_until


def mounted_below(folder: Path) -> list[Path]:
    """Mount points at or below `folder`, the last mounted first."""
    mount_points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4]))
        if point == folder or folder in point.parents:
            mount_points.append(point)
    return mount_points[::-1]


def unmount_below(folder: Path) -> None:
    """Unmount everything there; DeployError when something is still in use after 10 s."""
    if not wait_until(lambda: _unmounted(folder), within=10, every=0.1):
        left = ", ".join(str(point) for point in mounted_below(folder))
        raise DeployError("the lab's disks could not be unmounted", step="lab", cause=f"in use: {left}")


def _unmounted(folder: Path) -> bool:
    for point in mounted_below(folder):
        attempt(["umount", point])
    return not mounted_below(folder)
