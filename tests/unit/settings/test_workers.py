"""Worker numbers by cores and memory, with the sum that the plan shows."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.settings.workers import workers_for

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
    assert workers_for(setting, cores, memory, instances)[0] == number


def test_the_sum_is_shown() -> None:
    assert workers_for("auto", 2, 8 * GIB)[1] == "auto: 2 x 2 + 1 = 5 (2 cores)"
    assert workers_for("auto", 8, GIB)[1].endswith("capped at 6 by 1024 MiB of memory")
