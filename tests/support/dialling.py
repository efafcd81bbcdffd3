"""Connecting to a host without an agent, and its keys as a user knows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.errors import DeployError
from deployer.inventory.model import Host
from deployer.remote.ssh.dialer import Dialer
from support.loopback import Sshd


def tried(host: Host, config: Path) -> DeployError:
    """The error of connecting to `host`."""
    with pytest.raises(DeployError) as caught:
        Dialer(config_file=str(config)).connect(host).close()
    return caught.value


def connects(host: Host, config: Path) -> bool:
    connection = Dialer(config_file=str(config)).connect(host)
    try:
        return bool(connection.is_connected)
    finally:
        connection.close()


def key_line(sshd: Sshd, kind: str = "ed25519") -> str:
    """`TYPE KEY` of the server."""
    return " ".join((sshd.folder / f"host_{kind}.pub").read_text().split()[:2])


def knows(sshd: Sshd, tmp_path: Path, *lines: str) -> Host:
    """The server as a host whose known_hosts has these lines."""
    path = tmp_path / "known_hosts"
    path.write_text("".join(line + "\n" for line in lines))
    return sshd.host(known_hosts=(str(path),))
