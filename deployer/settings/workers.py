"""How many workers an instance gets, from the cores and the memory of its host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WORKER_BYTES = 150 * 1024 * 1024
"""What one worker of a typical app takes, in bytes; only a cap against running a small host out of memory."""

_SUMS = {"auto": (2, 1), "balanced": (2, 1), "io": (3, 0), "cpu": (1, 1)}


@dataclass(frozen=True)
class Size:
    """What the instances of a host may use.

    `memory` is the host's in bytes, which they share; `unit_memory` what each may have; 0 is unknown, or no limit.
    `cores_by`, `memory_by` and `unit_memory_by` say in words who limits them, where it is not the machine itself.
    """

    cores: int
    memory: int
    cores_by: str = ""
    memory_by: str = ""
    unit_memory: int = 0
    unit_memory_by: str = ""


def workers_for(
    setting: int | Literal["auto", "balanced", "io", "cpu"], size: Size, instances: int = 1
) -> tuple[int, str]:
    """Return the number of workers, and the sum that gave it as text for the plan.

    Args:
        setting: `runtime.workers`; a number is taken as it is.
        size: of that host.
        instances: how many instances of the app share its memory.
    """
    if not isinstance(setting, str):
        return setting, f"{setting} (as set)"
    factor, more = _SUMS[setting]
    cores = size.cores
    workers = factor * max(cores, 1) + more
    words = f"{factor} x {cores}" if factor > 1 else f"{cores}"
    words = f"{words} + {more}" if more else words
    by = f" by {size.cores_by}" if size.cores_by else ""
    words = f"{setting}: {words} = {workers} ({cores} {'core' if cores == 1 else 'cores'}{by})"
    caps = [
        (max(memory // (WORKER_BYTES * sharing), 1), memory, whose)
        for memory, sharing, whose in (
            (size.memory, max(instances, 1), size.memory_by),
            (size.unit_memory, 1, size.unit_memory_by),
        )
        if memory > 0
    ]
    fit, memory, whose = min(caps, default=(workers, 0, ""))
    if workers <= fit:
        return workers, words
    return fit, f"{words}, capped at {fit} by {memory // 1024**2} MiB of memory" + (f" ({whose})" if whose else "")
