"""What control groups leave of a host: CPU quota and memory, of version 2 and of version 1, and a unit's drop-ins.

https://docs.kernel.org/admin-guide/cgroup-v2.html (`cpu.max`, `memory.max`, `memory.high`) and
https://docs.kernel.org/scheduler/sched-bwc.html (`cpu.cfs_quota_us`).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from deployer.agent.model.layout import Site

if TYPE_CHECKING:
    from deployer.agent.model.messages.host import Limit

_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_UNLIMITED = 1 << 60  # version 1 says "no limit" by a number near the largest that there is


def limits(site: Site) -> dict[str, Limit | None]:
    """Who limits → `{cores, memory}` (a float, bytes; None: no limit) for the groups that instances are in.

    `host`: the host itself, where it is a container, and its services. `supervisord`: that daemon with all of its
    programs. `unit`: an instance by itself, by people's drop-ins, which say the same whether it runs or not.
    """
    root = site.system("/sys/fs/cgroup")
    services = "system.slice"
    return {
        "host": _tightest([base + group for base in _bases(root) for group in ("", services)]),
        "supervisord": _tightest([base + services + "/supervisor.service" for base in _bases(root)]),
        "unit": _of_drop_ins(site.system(f"/etc/systemd/system/{site.app}@.service.d")),
    }


def _of_drop_ins(folder: str) -> Limit:
    """What the last `CPUQuota=`, `MemoryMax=` and `MemoryHigh=` of drop-ins say; percentages of memory do not count."""
    drop_in_limits: dict[str, str] = {}
    for path in sorted(glob.glob(glob.escape(folder) + "/*.conf")):
        for name, value in re.findall(
            r"^[ \t]*(CPUQuota|MemoryMax|MemoryHigh)[ \t]*=[ \t]*(\S*)", _read("", path), re.M
        ):
            drop_in_limits[name] = value
    quota = re.match(r"([\d.]+)%$", drop_in_limits.get("CPUQuota", ""))
    amounts = [re.match(r"(\d+)([KMGT]?)$", drop_in_limits.get(name, "")) for name in ("MemoryMax", "MemoryHigh")]
    memory = [int(amount[1]) * _SIZES[amount[2]] for amount in amounts if amount]
    return {"cores": float(quota[1]) / 100 if quota else None, "memory": min(memory, default=None)}


def _bases(root: str) -> list[str]:
    """Where hierarchies are mounted: version 2, or beside it (`unified`) and one a controller in version 1."""
    return [root + "/" + name for name in ("", "unified/", "cpu/", "cpu,cpuacct/", "memory/")]


def _tightest(groups: Iterable[str]) -> Limit:
    cores: list[float] = []
    memory: list[int] = []
    for group in groups:
        quota, period = [*_read(group, "cpu.max").split(), "", ""][:2]
        if not quota:
            quota, period = _read(group, "cpu.cfs_quota_us"), _read(group, "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            cores.append(round(int(quota) / int(period), 2))
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            text = _read(group, name)
            if text.isdigit() and 0 < int(text) < _UNLIMITED:
                memory.append(int(text))
    return {"cores": min(cores, default=None), "memory": min(memory, default=None)}


def _read(group: str, name: str) -> str:
    try:
        with open(os.path.join(group, name), encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
