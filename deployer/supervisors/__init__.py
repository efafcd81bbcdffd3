"""Supervisors: what keeps the instances running. `get` finds one by the name that `supervisor` gives."""

from __future__ import annotations

from deployer.registry import SUPERVISORS, Registry
from deployer.supervisors.base import Supervisor, UnitSpec
from deployer.supervisors.supervisord import Supervisord
from deployer.supervisors.systemd import Systemd

__all__ = ["Supervisor", "UnitSpec", "get"]

get = Registry[Supervisor](SUPERVISORS, Supervisor, (Systemd(), Supervisord())).get
