"""What users of each name are answered, asked on the balancer's own host, where no DNS is needed."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from deployer.agent.model.messages import requests as wire
from deployer.agent.model.supervision import USER_AGENT
from deployer.agent.operation import Context, operation

_AT_ONCE = 8  # names that are asked at the same time
_PAUSE = 0.5  # seconds between two requests for one name
_TIMEOUT = 10.0  # seconds for one answer


@operation(wire.DOMAINS)
def request(ctx: Context, request: wire.RequestDomains) -> wire.DomainsAnswered:
    """Sends `GET path` for every name to the balancer on this host, and follows no redirect.

    What users of each name are answered.
    """
    until = time.monotonic() + float(request.get("wait") or 0)

    def last_answer(name: str) -> wire.DomainAnswer:
        while True:
            answer = _answer(request, name)
            status = answer["status"]
            good = status is not None and status < 500
            if good or time.monotonic() >= until or ctx.cancelled.wait(_PAUSE):
                return answer

    names = [str(name) for name in request["names"]]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return {"names": dict(zip(names, pool.map(last_answer, names)))}


@operation(wire.CONNECT)
def connect(ctx: Context, request: wire.ConnectToBalancer) -> wire.Connected:
    """Connects to the balancer on this host where users do, and sends nothing."""
    try:
        socket.create_connection((request["address"], request["port"]), timeout=_TIMEOUT).close()
    except OSError as error:
        return {"open": False, "why": error.strerror or str(error)}
    return {"open": True, "why": ""}


def _answer(request: wire.RequestDomains, name: str) -> wire.DomainAnswer:
    connection = http.client.HTTPConnection(request["address"], request["port"], timeout=_TIMEOUT)
    try:
        connection.connect()
        if request.get("tls"):
            connection.sock = _unverified().wrap_socket(connection.sock, server_hostname=name)
        connection.request("GET", request["path"], headers={"Host": name, "User-Agent": USER_AGENT})
        response = connection.getresponse()
        return {"status": response.status, "why": "", "location": response.getheader("Location") or ""}
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"status": None, "why": str(error) or type(error).__name__, "location": ""}
    finally:
        connection.close()


def _unverified() -> ssl.SSLContext:
    """Whether a certificate will do is for other checks to say: this one is about what is behind it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
