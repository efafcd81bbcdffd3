"""Certificates as a balancer presents them now: asked at its own host, as any client would."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from deployer.agent.operation import Context, operation

_PATIENCE = 5.0  # seconds for one handshake


@operation("tls.presented")
def presented(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What is presented at `address` and `port` for each of `names`: `certificates: {name: {pem, why}}`.

    `pem` is null where there is none, and `why` says why. Nothing of the certificate is judged here.
    """
    names = {str(name) for name in args["names"]}
    return {"certificates": {name: _ask(str(args["address"]), int(args["port"]), name) for name in sorted(names)}}


def _ask(address: str, port: int, name: str) -> dict[str, Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname=name) as client:
                certificate = client.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        return {"pem": None, "why": "it refuses the handshake: %s" % (error.reason or error)}
    except OSError as error:
        return {"pem": None, "why": str(error.strerror or error)}
    return {"pem": ssl.DER_cert_to_PEM_cert(certificate) if certificate else None, "why": ""}
