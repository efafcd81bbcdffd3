"""Units of the app that must start at boot: instances, processes, held ports and timers that are in use."""

from __future__ import annotations

import os

from deployer.agent import process
from deployer.agent.operation import OpError
from deployer.agent.resources import BootUnit

_TIMEOUT_S = 15.0


def is_disabled(unit: BootUnit) -> bool:
    """Whether the unit is in use and would not start at boot. Changes nothing."""
    if not os.path.lexists(unit.link):
        return False
    words = process.run(unit.state, timeout=_TIMEOUT_S).stdout.split()
    if unit.active_only and "active" not in words:
        return False
    return "enabled" not in words


def enable(unit: BootUnit) -> None:
    """Enables the unit at boot. Raises OpError `failed` with the supervisor's last lines if it refuses."""
    done = process.run(unit.enable, timeout=_TIMEOUT_S)
    if not done.ok:
        raise OpError("failed", "%s cannot be enabled at boot: %s" % (unit.name, done.why), log=done.log())
