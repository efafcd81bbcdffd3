"""One request to an instance's health path, straight to it and never through a proxy, within a bounded time."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import Callable

from deployer.agent.model.endpoints import socket_of
from deployer.agent.model.layout import Site
from deployer.agent.model.supervision import FORWARDED_PROTO, USER_AGENT, Health
from deployer.agent.system import procfs

SLOW = "mend what its log says, or raise health.within if it only needs longer to start; then type deploy push {env}"
WRONG_STATUS = "mend what the health path answers, or set health.path and health.status; then type deploy push {env}"
_TO_HTTPS = (
    "the app redirects HTTP to https: set health.headers: {X-Forwarded-Proto: https} in deploy.yaml, "
    "which says that the user came by TLS; then type deploy push {env}"
)
_DISTRUSTED = (
    "the app redirects to https although the check says X-Forwarded-Proto: https: have it trust that header "
    "(Django: SECURE_PROXY_SSL_HEADER); then type deploy push {env}"
)
_REFUSED_HOST = (
    "the app refuses the request: Django answers 400 (DisallowedHost) until ALLOWED_HOSTS has %s; add that name, "
    "or set domains: or health.headers: {Host: NAME} in deploy.yaml to a name that the app accepts; "
    "then type deploy push {env}"
)
_LOOK = 0.2  # seconds between looks at whether an answer is still worth waiting for


@dataclass(frozen=True)
class Answer:
    """`ok`: as wanted; else `why` says what came instead, in plain words, and `hint` what to change.

    `status` None: no answer at all. `refused`: a host is there, and nothing listens at that port.
    """

    ok: bool
    status: int | None = None
    why: str = ""
    hint: str = ""
    refused: bool = False


def ask(
    address: str,
    port: int,
    health: Health,
    through: str = "",
    still: Callable[[], bool] = lambda: True,
    *,
    exactly: bool = False,
) -> Answer:
    """Sends `GET health.path` and judges the status; never raises, takes at most about `health.timeout` seconds.

    A wildcard `address` is asked at loopback, a folder at the socket in it. No redirect is followed. `through` is a
    unix socket to connect to instead: a balancer's own way to the instance. `still`: asked meanwhile; False ends the
    wait. `exactly`: at that loopback address, also where the instance listens at the one of the other family.
    """
    through = through or socket_of(address, port)
    place = reachable(address) if exactly else loopback(reachable(address), port)
    connection = http.client.HTTPConnection(place, port, timeout=health.timeout)
    # A server that trickles bytes never meets a socket timeout; closing the socket from outside bounds the whole.
    answered = threading.Event()
    began = time.monotonic()
    threading.Thread(target=_bound, args=(connection, health.timeout, answered, still), daemon=True).start()
    try:
        if through:
            connection.sock = _socket(through, health.timeout)
        connection.putrequest("GET", health.path or "/", skip_host=True)
        for name, value in _headers(address, port, health).items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        status, location = response.status, response.getheader("Location") or ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = time.monotonic() - began >= health.timeout
        why = f"GET {health.path}: {_reason(error, health, late)}"
        return Answer(False, None, why, SLOW, refused=isinstance(error, ConnectionRefusedError))
    finally:
        answered.set()
        connection.close()
    if health.accepts(status):
        return Answer(True, status)
    why = "GET %s answered %d, wanted %s" % (health.path, status, health.wanted)
    return Answer(False, status, why, _hint(status, location, health))


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
    """`health` with the request that the release itself was built with: path, status, headers, Host.

    While an app's health check changes, each release gets its own: the old one must not fail for lacking what only the
    new one has. A release without such a record is checked as `health` says.
    """
    try:
        with open(site.marker(release), encoding="utf-8") as marker:
            own = json.load(marker).get("health") or {}
    except (OSError, ValueError):
        return health
    return health.recorded(own) if own else health


def reachable(address: str) -> str:
    """The address to connect to when an instance binds `address`."""
    bare = address.strip("[]")
    known = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
    return "localhost" if bare.startswith("/") else known.get(bare, bare)


def loopback(address: str, port: int) -> str:
    """The loopback address of the family in which something listens at the port; any other address as it is.

    A release listens as it was built to: `0.0.0.0` is not reached at `::1`, nor `::` of some servers at `127.0.0.1`.
    """
    if address not in ("127.0.0.1", "::1"):
        return address
    listening = {"::1" if ":" in listener.address else "127.0.0.1" for listener in procfs.listeners([port])}
    return address if address in listening or not listening else min(listening)


def _headers(address: str, port: int, health: Health) -> dict[str, str]:
    known = reachable(address)
    # An app that knows its own names knows this one; whether it is asked by IPv4 or IPv6 is not its business.
    shown = "127.0.0.1" if known == "::1" else f"[{known}]" if ":" in known else known
    headers = {"Host": health.host or "%s:%d" % (shown, port), "User-Agent": USER_AGENT, "Connection": "close"}
    lower = {name.lower(): name for name in headers}
    for name, value in health.sent_headers.items():
        headers[lower.get(name.lower(), name)] = value
    return headers


def _hint(status: int, location: str, health: Health) -> str:
    """What to change where an app answers with a status that the health check does not accept."""
    if 300 <= status < 400 and location.lower().startswith("https:"):
        if health.sent_headers.get(FORWARDED_PROTO, "").lower() == "https":
            return _DISTRUSTED
        return _TO_HTTPS
    if status == 400:
        return _REFUSED_HOST % (health.host or "the name in the request")
    return SLOW if status == 503 else WRONG_STATUS


def _reason(error: BaseException, health: Health, late: bool) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if late or isinstance(error, (TimeoutError, socket.timeout)):
        return f"no answer within {health.timeout:g} s"
    if isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError)):
        return "the connection was closed before an answer came"
    return f"{type(error).__name__}: {error}"


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
