"""What `deploy logs` leaves out: health checks that went well, and nothing of users."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.topologies import topology

from deployer.rollout.queries.logs import health_checks

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
    assert CHECKS.search(line)


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
    assert not CHECKS.search(line)


AT_ROOT = health_checks(replace(topology(2), health_path="/", health_status=None))
NAMED = '"GET / HTTP/1.1" 404 9 "-" "deploy-health"'


@pytest.mark.parametrize(
    "line",
    [
        f"192.0.2.101 - - [24/Nov/2026:20:00:00 +0000] {NAMED}",
        'INFO:     192.0.2.101:40000 - "GET / HTTP/1.1" 302 Found',
        '{"client": "192.0.2.101", "method": "GET", "path": "/", "query": "", "status": 200, "port": 8000}',
        '{"client": "192.0.2.101", "path": "/", "query": "", "status": 401, "bytes": 2, "agent": "deploy-health"}',
    ],
    ids=["gunicorn", "uvicorn", "uvicorn's JSON", "gunicorn's JSON"],
)
def test_checks_of_the_path_that_users_ask_for_too_are_left_out(line: str) -> None:
    assert AT_ROOT.search(line)


@pytest.mark.parametrize(
    "line",
    [
        '192.0.2.101 - - [24/Nov/2026:20:00:00 +0000] "GET / HTTP/1.1" 200 9 "-" "curl/8"',
        'INFO:     203.0.113.9:0 - "GET / HTTP/1.1" 200 OK',
        'INFO:     127.0.0.1:0 - "GET / HTTP/1.1" 200 OK',
        'INFO:     192.0.2.101:40000 - "GET / HTTP/1.1" 400 Bad Request',
        '{"client": "192.0.2.101", "path": "/", "query": "", "status": 200, "bytes": 2, "agent": "curl/8"}',
        f"192.0.2.101 - - {NAMED.replace('404', '500')}",
    ],
    ids=[
        "a user behind a balancer",
        "a user",
        "a user on the balancer's host",
        "it failed",
        "a user in JSON",
        "it failed with a name",
    ],
)
def test_users_of_that_path_are_shown(line: str) -> None:
    assert not AT_ROOT.search(line)


def test_without_a_balancer_that_says_whom_a_request_is_from_an_address_says_nothing() -> None:
    for shape in (topology(1, 0), topology(1, balancer={"manage": False})):
        checks = health_checks(replace(shape, health_path="/", health_status=None))
        assert not checks.search('INFO:     127.0.0.1:40000 - "GET / HTTP/1.1" 200 OK')
        assert checks.search(f"127.0.0.1 - - {NAMED}")
