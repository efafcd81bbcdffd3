"""Units of the app that must start at boot: instances, processes, held ports and timers that are in use."""

from __future__ import annotations

import os

from deployer.agent.model.resources import BootUnit
from deployer.agent.operation import OpError
from deployer.agent.system import process_runner

_TIMEOUT_S = 15.0
MASKED = frozenset({"masked", "masked-runtime"})


def action(unit: BootUnit) -> str:
    """What a unit that is in use needs to start at boot: `enable`, `unmask`, or nothing (empty). Changes nothing."""
    if not os.path.lexists(unit.link):
        return ""
    words = process_runner.run(unit.state, timeout=_TIMEOUT_S).stdout.split()
    if unit.active_only and "active" not in words:
        return ""
    if MASKED.intersection(words):
        return "unmask"
    return "" if "enabled" in words else "enable"


def enable(unit: BootUnit) -> None:
    """Enables the unit at boot.

    Raises OpError `masked` for a unit that a person has masked, which only a person undoes; `failed` with the
    supervisor's last lines if it refuses otherwise.
    """
    if action(unit) == "unmask":
        hint = f"on that host: systemctl unmask {unit.name}; then type deploy {{command}} {{env}}"
        raise OpError("masked", f"{unit.name} is masked, so it cannot start", hint)
    done = process_runner.run(unit.enable, timeout=_TIMEOUT_S)
    if not done.ok:
        raise OpError("failed", f"{unit.name} cannot be enabled at boot: {done.why}", log=done.log())
