"""A balancer host for a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_nginx import House, house


@pytest.fixture(scope="session")
def nginx_host_of_all() -> Iterator[House]:
    """Real nginx under a real supervisord."""
    if not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        pytest.skip("needs nginx")
    with house() as made:
        yield made


@pytest.fixture
def balancer_host(nginx_host_of_all: House) -> Iterator[House]:
    """A balancer host with nothing on it but what setup does."""
    yield nginx_host_of_all
    nginx_host_of_all.clear()
