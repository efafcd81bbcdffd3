"""A lab that is up, as a value: it can be written as JSON, read again, and its hosts can be made to suffer."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.errors import UsageError
from deployer.lab.kind import Kind
from deployer.lab.machines import Machines
from deployer.lab.model import HostEntry
from deployer.lab.place import Place
from deployer.lab.processes import Processes


def kind_called(name: str) -> Kind:
    """Return the kind of lab of that name; KeyError if there is none."""
    kinds: dict[str, Kind] = {"machines": Machines(), "processes": Processes()}
    return kinds[name]


@dataclass(frozen=True)
class Lab:
    """A lab that is up.

    `address` is `HOST:PORT` where the first balancer serves (without a balancer: where `web1` does); `hosts` tells by
    name how SSH reaches each; `inventory` is the path of the YAML inventory; `folder` holds all of the lab's files.
    """

    name: str
    kind: str
    address: str
    hosts: dict[str, HostEntry]
    inventory: str
    folder: str

    @classmethod
    def read(cls, file: Path) -> Lab:
        """Return the lab that `as_dict` wrote; FileNotFoundError or ValueError when there is none."""
        return cls(**json.loads(file.read_text()))

    def as_dict(self) -> dict[str, Any]:
        """Return the lab as plain data."""
        return dataclasses.asdict(self)

    def running(self, host: str) -> bool:
        """Return whether the host is on."""
        return self._kind.running(self._place, self._known(host))

    def power_off(self, host: str) -> None:
        """Pull the host's plug: all its processes die at once, its disk stays. Return when they are dead.

        Machines fall silent: their connections get no end. With processes the kernel closes their connections.
        """
        self._kind.power_off(self._place, self._known(host))

    def power_on(self, host: str) -> None:
        """Start the host again, and return when its sshd answers. Do nothing to one that is on."""
        self._kind.power_on(self._place, self._known(host))

    def cut(self, host: str) -> None:
        """From now on SSH between here and the host is silence: no reset, no end of file, on open connections too.

        Machines: packets to and from its port 22 are dropped. Processes: its sshd and its sessions are stopped
        (SIGSTOP), while what they started goes on. HTTP goes on in both.
        """
        self._kind.cut(self._place, self._known(host))

    def mend(self, host: str) -> None:
        """End a cut; TCP sends again what was lost."""
        self._kind.mend(self._place, self._known(host))

    def exec(self, host: str, argv: Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, past SSH, and return its result, also after a failure.

        Machines: as root. Processes: as the lab's user, in the folder that stands for the host's `/`.

        Raises:
            DeployError: the host is off.
            subprocess.TimeoutExpired: after `timeout` seconds.
        """
        return self._kind.exec(self._place, self._known(host), argv, timeout)

    @property
    def _kind(self) -> Kind:
        return kind_called(self.kind)

    @property
    def _place(self) -> Place:
        return Place(self.name, Path(self.folder))

    def _known(self, host: str) -> str:
        if host not in self.hosts:
            raise UsageError(f"the lab {self.name} has no host {host}", hint=f"its hosts are {', '.join(self.hosts)}")
        return host
