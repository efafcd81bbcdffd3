"""How many workers an instance gets, from the cores and the memory of its host."""

from __future__ import annotations

from typing import Literal

WORKER_BYTES = 150 * 1024 * 1024
"""What one worker of a typical app takes, in bytes; only a cap against running a small host out of memory."""

_SUMS = {"auto": (2, 1), "balanced": (2, 1), "io": (3, 0), "cpu": (1, 1)}


def workers_for(
    setting: int | Literal["auto", "balanced", "io", "cpu"], cores: int, memory_bytes: int, instances: int = 1
) -> tuple[int, str]:
    """The number of workers, and the sum that gave it as text for the plan.

    Args:
        setting: `runtime.workers`; a number is taken as it is.
        cores: of that host. `memory_bytes`: all of its memory; 0 means unknown, and caps nothing.
        instances: how many instances of the app share that memory.
    """
    if not isinstance(setting, str):
        return setting, f"{setting} (as set)"
    factor, more = _SUMS[setting]
    wanted = factor * max(cores, 1) + more
    words = f"{factor} x {cores}" if factor > 1 else f"{cores}"
    words = f"{words} + {more}" if more else words
    words = f"{setting}: {words} = {wanted} ({cores} {'core' if cores == 1 else 'cores'})"
    fit = max(memory_bytes // (WORKER_BYTES * max(instances, 1)), 1)
    if memory_bytes <= 0 or wanted <= fit:
        return wanted, words
    return fit, f"{words}, capped at {fit} by {memory_bytes // 1024**2} MiB of memory"
