"""What the plan counts workers for: the machine, less what its cgroups and the user's unit leave of it."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.agent.model.messages.host import Limit, Machine
from deployer.plan.size import size_of
from deployer.settings.workers import Size

GIB = 1024**3
HOST = "the cgroup of the host"
MACHINE: Machine = {"cores": 8, "memory": 16 * GIB}


@pytest.mark.parametrize(
    ("limits", "options", "size"),
    [
        ({}, {}, Size(8, 16 * GIB)),
        ({"host": {"cores": 1.5, "memory": GIB}}, {}, Size(2, GIB, f"the CPU quota of {HOST}", HOST)),
        ({"host": {"cores": 0.2, "memory": None}}, {}, Size(1, 16 * GIB, f"the CPU quota of {HOST}")),
        ({"host": {"cores": 64.0, "memory": 99 * GIB}}, {}, Size(8, 16 * GIB)),
        ({"supervisord": {"cores": 1.0, "memory": GIB}}, {}, Size(8, 16 * GIB)),
        ({"unit": {"cores": None, "memory": GIB}}, {}, Size(8, 16 * GIB, "", "", GIB, "a drop-in of the unit")),
        ({}, {"MemoryMax": "1G", "CPUQuota": "250%"}, Size(3, 16 * GIB, "unit: CPUQuota", "", GIB, "unit: MemoryMax")),
        ({}, {"MemoryHigh": "25%", "MemoryMax": "infinity"}, Size(8, 16 * GIB, "", "", 4 * GIB, "unit: MemoryHigh")),
        ({}, {"MemoryMax": 536870912}, Size(8, 16 * GIB, "", "", GIB // 2, "unit: MemoryMax")),
        ({}, {"CPUAffinity": "0-2 5"}, Size(4, 16 * GIB, "unit: CPUAffinity")),
    ],
)  # fmt: skip
def test_under_systemd(limits: Any, options: Any, size: Size) -> None:
    assert size_of({**MACHINE, "limits": limits}, options, "systemd") == size


def test_under_supervisord_its_own_unit_limits_all_programs_together() -> None:
    limits: dict[str, Limit | None] = {
        "supervisord": {"cores": 2.0, "memory": GIB},
        "unit": {"cores": 1.0, "memory": 1},
    }
    by = "the unit of supervisord"
    assert size_of({**MACHINE, "limits": limits}, {"CPUQuota": "10%"}, "supervisord") == Size(
        2, GIB, f"the CPU quota of {by}", by
    )


def test_a_host_that_says_nothing_has_one_core_and_caps_nothing() -> None:
    assert size_of({}, {}, "systemd") == Size(1, 0)
