"""What the instances of a host may use: its machine, less what control groups and the user's unit leave of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

from deployer.agent.model.messages.host import Limit, Machine
from deployer.settings.values import BYTES
from deployer.settings.workers import Size


def size_of(machine: Machine, options: Mapping[str, str | int | bool], supervisor: str) -> Size:
    """Return the size that workers are counted for.

    Args:
        machine: its `cores` (by affinity), `memory` and `limits` (`agent.system.cgroups`) count.
        options: the user's `unit:` map, which counts under systemd.
        supervisor: the name of the host's supervisor.
    """
    limits = machine.get("limits") or {}
    groups = {"host": "the cgroup of the host"}
    if supervisor == "systemd":
        groups["unit"] = "a drop-in of the unit"
    else:
        groups["supervisord"] = "the unit of supervisord"
    cores, total = machine.get("cores") or 1, machine.get("memory", 0)
    cores_by, memory, memory_by = "", total, ""
    quotas = [(_number(limits, group, "cores"), f"the CPU quota of {whose}") for group, whose in groups.items()]
    if supervisor == "systemd":
        quotas += _of_unit(options)
    for quota, by in quotas:
        if quota and math.ceil(quota) < cores:
            cores, cores_by = math.ceil(quota), by
    shared = [group for group in groups if group != "unit"]
    for group in shared:
        limit = int(_number(limits, group, "memory"))
        if limit and (limit < memory or not memory):
            memory, memory_by = limit, groups[group]
    unit_limits = [(int(_number(limits, "unit", "memory")), groups.get("unit", ""))] if "unit" in groups else []
    if supervisor == "systemd":
        unit_limits += [(_bytes(options.get(name), total), f"unit: {name}") for name in ("MemoryMax", "MemoryHigh")]
    unit_memory, by = min(((amount, by) for amount, by in unit_limits if amount), default=(0, ""))
    return Size(cores, memory, cores_by, memory_by, unit_memory, by)


def _of_unit(options: Mapping[str, str | int | bool]) -> list[tuple[float, str]]:
    """Return how many cores the user's own options leave: a quota of time, or a list of CPUs such as `0-2 5`."""
    quotas = []
    quota = re.fullmatch(r"([\d.]+)%", str(options.get("CPUQuota", "")))
    if quota:
        quotas.append((float(quota[1]) / 100, "unit: CPUQuota"))
    for name in ("CPUAffinity", "AllowedCPUs"):
        parts = re.findall(r"(\d+)(?:-(\d+))?", str(options.get(name, "")))
        cpus = {cpu for low, high in parts for cpu in range(int(low), int(high or low) + 1)}
        quotas.append((float(len(cpus)), f"unit: {name}"))
    return quotas


def _bytes(value: str | int | bool | None, total: int) -> int:
    """Return bytes as systemd writes them: `1G`, `50%` of the machine's; 0 for `infinity`, or what it would not
    understand."""
    text = str(value or "").strip()
    share = re.fullmatch(r"([\d.]+)%", text)
    if share:
        return int(total * float(share[1]) / 100)
    amount = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return int(float(amount[1]) * BYTES[amount[2]]) if amount else 0


def _number(limits: Mapping[str, Limit | None], group: str, what: Literal["cores", "memory"]) -> float:
    limit = limits.get(group)
    return (limit[what] or 0.0) if limit else 0.0
