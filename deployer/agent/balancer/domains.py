"""What users of each name are answered, asked on the balancer's own host, where no DNS is needed."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deployer.agent.model.supervision import USER_AGENT
from deployer.agent.operation import Context, operation

_AT_ONCE = 8  # names that are asked at the same time
_PAUSE = 0.5  # seconds between two requests for one name
_TIMEOUT = 10.0  # seconds for one answer


@operation("domains.request")
def request(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Sends `GET path` for every name to the balancer on this host, and follows no redirect.

    Args:
        args: `address, port` of the balancer; `tls` (whether it terminates TLS there); `names`; `path`; `wait`: seconds
            for which a name that gets no answer, or a status from 500 on, is asked again.

    Returns:
        `names`: name → `{status, why, location}`; `status` null: there was no answer, and `why`; `location` is where a
        redirect leads, else empty.
    """
    until = time.monotonic() + float(args.get("wait") or 0)

    def last_answer(name: str) -> dict[str, Any]:
        while True:
            answer = _answer(args, name)
            status: int | None = answer["status"]
            good = status is not None and status < 500
            if good or time.monotonic() >= until or ctx.cancelled.wait(_PAUSE):
                return answer

    names = [str(name) for name in args["names"]]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return {"names": dict(zip(names, pool.map(last_answer, names)))}


@operation("domains.connect")
def connect(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Connects to the balancer on this host where users do, and sends nothing.

    Args:
        args: `address, port` of the balancer.

    Returns:
        `open`, and `why` it is not.
    """
    try:
        socket.create_connection((str(args["address"]), int(args["port"])), timeout=_TIMEOUT).close()
    except OSError as error:
        return {"open": False, "why": error.strerror or str(error)}
    return {"open": True, "why": ""}


def _answer(args: dict[str, Any], name: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(str(args["address"]), int(args["port"]), timeout=_TIMEOUT)
    try:
        connection.connect()
        if args.get("tls"):
            connection.sock = _unverified().wrap_socket(connection.sock, server_hostname=name)
        connection.request("GET", str(args["path"]), headers={"Host": name, "User-Agent": USER_AGENT})
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
