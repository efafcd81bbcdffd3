"""A lab of processes that all tests of a session share; a test that breaks a host mends it, or makes a lab itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.labs import fresh_name

from deployer.lab import Lab, LabSpec, down, up


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three web hosts and an HAProxy, each an sshd and a supervisord."""
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=3), print)
    finally:
        down(name, print)


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name for a lab of the test's own; whatever there is of it is taken down afterwards."""
    name = fresh_name()
    yield name
    down(name, print)


@pytest.fixture(params=["nginx", "caddy"])
def small(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, str]]:
    """A host for a balancer that reaches its own host's files and sockets, to which an app is given too."""
    name = fresh_name()
    try:
        yield up(LabSpec(name=name, kind="processes", hosts=1, balancer=request.param), print), request.param
    finally:
        down(name, print)
