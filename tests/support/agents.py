"""What tests of agents share: hosts of a lab to open sessions on, work to give them, and waiting for what they do."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployer.inventory.model import Host, SshOptions
from deployer.lab import Lab
from deployer.remote import session as session_module
from deployer.remote.bundle import bundle
from deployer.remote.pending import Pending
from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer

PYTHON = "/usr/bin/python3"


def with_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends the operations of rehearsal.py along with the agent, for the time of a test."""
    sources = json.loads(zlib.decompress(bundle()))
    sources["operation"] += '\nMODULES["rehearsal"] = "rehearsal"\n'
    sources["rehearsal"] = (Path(__file__).parent / "rehearsal.py").read_text()
    packed = zlib.compress(json.dumps(sources).encode())
    monkeypatch.setattr(session_module, "bundle", lambda *_: packed)


@contextmanager
def quiet_dialer(folder: Path) -> Iterator[Dialer]:
    """A dialer that knows nothing of this machine's own SSH configuration."""
    (folder / "ssh_config").write_text("Host *\n  UserKnownHostsFile none\n  IdentityFile none\n")
    made = Dialer(config_file=str(folder / "ssh_config"))
    try:
        yield made
    finally:
        made.close()


def host_of(lab: Lab, user: str = "root", become: bool | None = None) -> Host:
    """The first web host of a lab as that user."""
    at = lab.hosts["web1"]
    ssh = SshOptions(at["host"], user, at["port"], (at["key"],), (at["known_hosts"],))
    return Host("web1", ssh, become=become)


def until(true: Callable[[], Any], within: float = 20.0) -> Any:
    """Waits for a condition; fails when it does not come."""
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        found = true()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come true")


def running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def at_work(agent: Session, **args: Any) -> Pending:
    """An operation that has begun and ends when it is cancelled."""
    begun = threading.Event()
    pending = agent.request("rehearsal.work", {"seconds": 600, **args}, on_event=lambda event: begun.set())
    assert begun.wait(20)
    return pending


def words(notes: Path) -> list[str]:
    return [line.split()[0] for line in notes.read_text().splitlines()] if notes.exists() else []
