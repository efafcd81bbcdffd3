"""What `deploy logs` leaves out: health checks that went well, and nothing of users."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.topologies import topology

from deployer.rollout.logs import health_checks

CHECKS = health_checks(topology(2))


@pytest.mark.parametrize(
    "line",
    [
        'INFO:     127.0.0.1:51234 - "GET /healthz HTTP/1.1" 200 OK',
        'INFO:     192.0.2.101:40000 - "GET /healthz HTTP/1.1" 204 No Content',
        '192.0.2.101 - - [24/Nov/2026:20:00:00 +0000] "GET /healthz HTTP/1.1" 200 2 "-" "-"',
    ],
)
def test_left_out(line: str) -> None:
    assert CHECKS and CHECKS.search(line)


@pytest.mark.parametrize(
    "line",
    [
        'INFO:     127.0.0.1:51234 - "GET /healthz HTTP/1.1" 503 Service Unavailable',
        'INFO:     127.0.0.1:51234 - "GET /orders HTTP/1.1" 200 OK',
        'INFO:     203.0.113.9:51234 - "GET /healthz HTTP/1.1" 200 OK',
        'INFO:     127.0.0.1:51234 - "POST /healthz HTTP/1.1" 200 OK',
        "the check /healthz of 127.0.0.1 took long",
    ],
    ids=["it failed", "another path", "a user", "another method", "no access log"],
)
def test_shown(line: str) -> None:
    assert CHECKS and not CHECKS.search(line)


def test_where_users_ask_for_the_same_path_nothing_is_left_out() -> None:
    assert health_checks(replace(topology(1), health_path="/")) is None
