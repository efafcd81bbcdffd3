"""A lab of machines that all tests of a session share; a test that breaks a host mends it, or makes a lab itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agents import quiet_dialer
from support.labs import fresh_name, running

from deployer.lab import Lab, down
from deployer.remote.ssh.dialer import Dialer


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three web hosts and one for HAProxy, each a booted systemd."""
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    with running(kind="machines", hosts=3) as made:
        yield made


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name for a lab of the test's own; whatever there is of it is taken down afterwards."""
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    name = fresh_name()
    yield name
    down(name, print)


@pytest.fixture
def dialer(tmp_path: Path) -> Iterator[Dialer]:
    """Connects as if this machine had no SSH configuration."""
    with quiet_dialer(tmp_path) as made:
        yield made
