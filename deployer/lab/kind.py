"""What every kind of lab can do; `machines` and `processes` each do it in their own way."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deployer.lab.model import HostEntry, LabSpec, Progress
from deployer.lab.place import Place


@dataclass(frozen=True)
class Fleet:
    """What came up: where the balancer serves (`HOST:PORT`) and how SSH reaches each host."""

    address: str
    hosts: dict[str, HostEntry]


class Kind(Protocol):
    """One kind of lab. Every method takes the lab's place; none relies on anything but what the system shows."""

    def check(self, spec: LabSpec, progress: Progress) -> None:
        """Sees that this machine can carry such a lab; NotReadyError has the command to type when it cannot."""

    def up(self, spec: LabSpec, place: Place, progress: Progress) -> Fleet:
        """Bring up all hosts in an empty folder, write the inventory, and return when SSH answers everywhere."""

    def down(self, place: Place) -> None:
        """End and undo whatever the lab left outside its folder, however far `up` had come."""

    def alive(self, place: Place) -> bool:
        """Return whether the lab is there at all (single hosts may be off)."""

    def running(self, place: Place, host: str) -> bool:
        """Return whether that host is on."""

    def power_off(self, place: Place, host: str) -> None:
        """Pull the plug: everything on the host dies at once; see `Lab.power_off`."""

    def power_on(self, place: Place, host: str) -> None:
        """Start the host with its disk as it was, and return when SSH answers."""

    def cut(self, place: Place, host: str) -> None:
        """From now on SSH with that host is silence, on open connections too; other traffic goes on."""

    def mend(self, place: Place, host: str) -> None:
        """End the silence."""

    def exec(self, place: Place, host: str, argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command on the host as root (or the lab's user), past SSH; TimeoutExpired after `timeout` s."""
