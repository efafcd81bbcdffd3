"""Real sshds on loopback, and what connects to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agents import PYTHON, with_rehearsal
from support.loopback import Proxy, Sshd

from deployer.remote.session import Session
from deployer.remote.ssh.dialer import Dialer


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"), kinds=("ed25519", "rsa"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd) -> Iterator[Sshd]:
    """A gateway that lets the same user key in."""
    server = Sshd(tmp_path_factory.mktemp("gate"))
    (server.folder / "authorized_keys").write_text((sshd.folder / "authorized_keys").read_text())
    yield server
    server.stop()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An SSH configuration that knows nothing of this machine's own."""
    path = tmp_path / "ssh_config"
    path.write_text("Host *\n  GlobalKnownHostsFile none\n  UserKnownHostsFile none\n  IdentityFile none\n")
    return path


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends the operations of rehearsal.py along with the agent."""
    with_rehearsal(monkeypatch)


@pytest.fixture
def dialer(sshd: Sshd) -> Dialer:
    return Dialer(config_file=str(sshd.config))


@pytest.fixture
def agent(sshd: Sshd, dialer: Dialer) -> Iterator[Session]:
    with Session.open(sshd.host(python=PYTHON), dialer=dialer) as session:
        yield session


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[Proxy]:
    made = Proxy(sshd.port)
    sshd.pin(made.port)
    yield made
    made.close()
    sshd.pin()
