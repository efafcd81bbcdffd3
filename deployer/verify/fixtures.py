"""The fixtures that every check may ask for: `host` and `deploy`."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import testinfra.host


@dataclass(frozen=True)
class Target:
    """One host as the checks of one set see it: testinfra's `host`, and the set's variables as `deploy`."""

    name: str
    host: testinfra.host.Host
    deploy: SimpleNamespace


@pytest.fixture(scope="module")
def check_target(request: pytest.FixtureRequest) -> Target:
    """Return the target that `ChecksPlugin` chose for this round of a check file."""
    target: Target = request.param
    return target


@pytest.fixture(scope="module")
def host(check_target: Target) -> testinfra.host.Host:
    """testinfra's host."""
    return check_target.host


@pytest.fixture(scope="module")
def deploy(check_target: Target) -> SimpleNamespace:
    """Return what is deployed there: app, env, release, root, user, ports …"""
    return check_target.deploy
