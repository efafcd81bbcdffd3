"""A real Caddy for tests: the one in the cache, fetched once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.artifact.caddy_binary import caddy_for
from deployer.cache import cache
from deployer.errors import NotReadyError


def real_caddy() -> Path:
    """Its path; skips the test where it cannot be had."""
    try:
        return caddy_for(cache()).path
    except NotReadyError as error:
        pytest.skip(f"needs Caddy: {error.message}")
