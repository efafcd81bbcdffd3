"""Worker numbers by cores and memory, with the sum that the plan shows."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.settings.workers import Size, workers_for

GIB = 1024**3


@pytest.mark.parametrize(
    ("setting", "cores", "memory", "instances", "number"),
    [
        (3, 16, GIB, 1, 3),
        ("auto", 2, 8 * GIB, 1, 5),
        ("balanced", 4, 8 * GIB, 1, 9),
        ("io", 4, 8 * GIB, 1, 12),
        ("cpu", 4, 8 * GIB, 1, 5),
        ("auto", 8, GIB, 1, 6),
        ("auto", 8, GIB, 2, 3),
        ("auto", 8, GIB // 16, 1, 1),
        ("auto", 2, 0, 1, 5),
    ],
)
def test_workers(setting: Any, cores: int, memory: int, instances: int, number: int) -> None:
    assert workers_for(setting, Size(cores, memory), instances)[0] == number


def test_the_sum_is_shown() -> None:
    assert workers_for("auto", Size(2, 8 * GIB))[1] == "auto: 2 x 2 + 1 = 5 (2 cores)"
    assert workers_for("auto", Size(8, GIB))[1].endswith("capped at 6 by 1024 MiB of memory")


def test_who_limits_is_named() -> None:
    size = Size(2, 8 * GIB, cores_by="unit: CPUQuota", unit_memory=GIB // 2, unit_memory_by="unit: MemoryMax")
    assert workers_for("auto", size) == (
        3,
        "auto: 2 x 2 + 1 = 5 (2 cores by unit: CPUQuota), capped at 3 by 512 MiB of memory (unit: MemoryMax)",
    )


def test_instances_share_the_hosts_memory_and_not_their_units() -> None:
    assert workers_for("auto", Size(8, 2 * GIB), 2)[0] == 6
    assert workers_for("auto", Size(8, 20 * GIB, unit_memory=GIB), 2)[0] == 6
