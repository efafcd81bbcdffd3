"""Which processes belong to a host or a lab, found in `/proc` by what they carry and not by a list that we kept.

A host's processes have its mark in their environment: supervisord and all it starts, and what is run through SSH.
Two kinds do not show it. sshd overwrites its own, so it is known by its config file, and its sessions by their
parent. A program that overwrites its environment with a title is known by its working folder, unless it has a
terminal: then it is a person's, who is looking around in there.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import DeployError
from deployer.lab.commands import wait_until

MARK = "DEPLOY_LAB_HOST"


@dataclass(frozen=True)
class Belongings:
    """The processes whose `DEPLOY_LAB_HOST` begins with `mark` (`<tag>/web1/`), or that work below `folder`.

    The folder is the host's own, or the one that holds all hosts of a lab.
    """

    mark: str
    folder: Path

    def all(self) -> set[int]:
        """Return the pids of all of them."""
        ours = {pid for pid in _pids() if self._marked(pid) or self._works_inside(pid)}
        return ours | self.ssh()

    def ssh(self) -> set[int]:
        """Return the pids of every sshd and of its sessions."""
        daemons = {pid for pid in _pids() if _name(pid) == "sshd"}
        pids = {pid for pid in daemons if any(map(self._is_config, _words(pid, "cmdline")))}
        while more := {pid for pid in daemons - pids if _parent(pid) in pids}:
            pids |= more
        return pids

    def kill(self) -> None:
        """End all at once, and whatever they start meanwhile; DeployError when some survive for 20 s."""
        if not wait_until(self._killed, within=20):
            raise DeployError("some processes of the lab do not die", step="lab", cause=f"pids {sorted(self.all())}")

    def signal_ssh(self, number: signal.Signals) -> None:
        """Send a signal to every sshd and the sessions."""
        _send(self.ssh(), number)

    def _killed(self) -> bool:
        alive = self.all()
        _send(alive, signal.SIGKILL)
        return not alive

    def _marked(self, pid: int) -> bool:
        return any(word.startswith(f"{MARK}={self.mark}") for word in _words(pid, "environ"))

    def _is_config(self, word: str) -> bool:
        return word.endswith("/sshd_config") and self.folder in Path(word).parents

    def _works_inside(self, pid: int) -> bool:
        try:
            cwd = Path(os.readlink(f"/proc/{pid}/cwd"))
        except OSError:
            return False
        return self.folder in (cwd, *cwd.parents) and not _has_terminal(pid)


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _pids() -> set[int]:
    """Return all processes but us, and without zombies."""
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {os.getpid()}
    return {pid for pid in pids if _stat(pid)[:1] not in ([], ["Z"])}


def _stat(pid: int) -> list[str]:
    """Return the fields of `/proc/<pid>/stat` from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    return int((_stat(pid) or ["", "0"])[1])


def _has_terminal(pid: int) -> bool:
    return (_stat(pid) or ["0"] * 5)[4] != "0"


def _name(pid: int) -> str:
    return _text(f"/proc/{pid}/comm").strip()


def _words(pid: int, file: str) -> list[str]:
    text = _text(f"/proc/{pid}/{file}")
    return text.split("\0") if file == "environ" else text.replace("\0", " ").split()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
