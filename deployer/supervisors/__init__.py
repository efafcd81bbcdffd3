"""Supervisors: what keeps the instances running. `get` finds one by the name that `supervisor` gives."""

from __future__ import annotations

from importlib.metadata import entry_points

from deployer.errors import SettingsError
from deployer.supervisors.base import Supervisor, UnitSpec
from deployer.supervisors.supervisord import Supervisord
from deployer.supervisors.systemd import Systemd

__all__ = ["ENTRY_POINTS", "Supervisor", "UnitSpec", "get"]

ENTRY_POINTS = "deployer.supervisors"
"""A third party's package adds a supervisor by an entry point of this group: its name → a class without arguments."""


def get(name: str) -> Supervisor:
    """The supervisor of that name (`systemd`, `supervisord` …); SettingsError if there is none."""
    own: tuple[Supervisor, ...] = (Systemd(), Supervisord())
    for supervisor in own:
        if supervisor.name == name:
            return supervisor
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        extension: Supervisor = entry.load()()
        return extension
    raise SettingsError(
        f"there is no supervisor {name!r}",
        hint="supervisor is one of " + ", ".join(supervisor.name for supervisor in own),
    )
