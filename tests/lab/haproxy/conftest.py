"""A balancer host for a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_haproxy import House, house


@pytest.fixture(scope="session")
def set_up_once() -> Iterator[House]:
    """Real HAProxy under a real supervisord."""
    if not (shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists()):
        pytest.skip("needs haproxy")
    with house() as made:
        yield made


@pytest.fixture
def balancer_host(set_up_once: House) -> Iterator[House]:
    """A balancer host with nothing on it but what setup does."""
    yield set_up_once
    set_up_once.clear()
