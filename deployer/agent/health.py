"""One request to an instance's health path, straight to it and never through a proxy, within a bounded time."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, replace
from typing import Callable, Optional

from deployer.agent.layout import Site
from deployer.agent.places import socket_of
from deployer.agent.supervision import Health

_LOOK = 0.2  # seconds between looks at whether an answer is still worth waiting for


@dataclass(frozen=True)
class Answer:
    """`ok`: as wanted; else `why` says what came instead, in plain words. `status` None: no answer at all."""

    ok: bool
    status: Optional[int] = None
    why: str = ""


def ask(address: str, port: int, health: Health, through: str = "", still: Callable[[], bool] = lambda: True) -> Answer:
    """Sends `GET health.path` and judges the status; never raises, takes at most about `health.timeout` seconds.

    A wildcard `address` is asked at loopback, a folder at the socket in it. No redirect is followed. `through` is a
    unix socket to connect to instead: a balancer's own way to the instance. `still`: asked meanwhile; False ends the
    wait.
    """
    through = through or socket_of(address, port)
    connection = http.client.HTTPConnection(reachable(address), port, timeout=health.timeout)
    # A server that trickles bytes never meets a socket timeout; closing the socket from outside bounds the whole.
    answered = threading.Event()
    threading.Thread(target=_bound, args=(connection, health.timeout, answered, still), daemon=True).start()
    try:
        if through:
            connection.sock = _socket(through, health.timeout)
        connection.putrequest("GET", health.path or "/", skip_host=True)
        for name, value in _headers(address, port, health).items():
            connection.putheader(name, value)
        connection.endheaders()
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(False, None, "GET %s: %s" % (health.path, _reason(error, health)))
    finally:
        answered.set()
        connection.close()
    return _judged(status, health)


def _socket(path: str, timeout: float) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout)
    try:
        client.connect(path)
    except OSError:
        client.close()
        raise
    return client


def of_release(site: Site, release: str, health: Health) -> Health:
    """`health` with the path and status that the release itself was built with.

    While an app's health path changes, each release is asked for its own: the old one must not fail for lacking what
    only the new one has. A release without such a record is asked as `health` says.
    """
    try:
        with open(site.marker(release), encoding="utf-8") as marker:
            own = json.load(marker).get("health") or {}
    except (OSError, ValueError):
        return health
    return replace(health, **{key: own[key] for key in ("path", "status") if key in own})


def reachable(address: str) -> str:
    """The address to connect to when an instance binds `address`."""
    bare = address.strip("[]")
    known = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
    return "localhost" if bare.startswith("/") else known.get(bare, bare)


def _headers(address: str, port: int, health: Health) -> "dict[str, str]":
    shown = "[%s]" % reachable(address) if ":" in reachable(address) else reachable(address)
    headers = {"Host": health.host or "%s:%d" % (shown, port), "User-Agent": "deploy-health", "Connection": "close"}
    lower = {name.lower(): name for name in headers}
    for name, value in health.headers.items():
        headers[lower.get(name.lower(), name)] = value
    return headers


def _judged(status: int, health: Health) -> Answer:
    ok = status == health.status if health.status is not None else status < 500
    if ok:
        return Answer(True, status)
    wanted = str(health.status) if health.status is not None else "a status below 500"
    return Answer(False, status, "GET %s answered %d, wanted %s" % (health.path, status, wanted))


def _reason(error: BaseException, health: Health) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "no answer within %g s" % health.timeout
    if isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError)):
        return "no whole answer: the connection was closed, or %g s had passed" % health.timeout
    return "%s: %s" % (type(error).__name__, error)


def _bound(
    connection: http.client.HTTPConnection, seconds: float, answered: threading.Event, still: Callable[[], bool]
) -> None:
    """Hangs up when time is up or there is nothing to wait for any more."""
    until = time.monotonic() + seconds
    while not answered.wait(min(_LOOK, max(0.0, until - time.monotonic()))):
        if time.monotonic() >= until or not still():
            _hang_up(connection)
            return


def _hang_up(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
