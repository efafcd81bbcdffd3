"""Certificates as a balancer presents them now: asked at its own host, as any client would."""

from __future__ import annotations

import socket
import ssl

from deployer.agent.model.messages import requests as wire
from deployer.agent.operation import Context, operation

_PATIENCE = 5.0  # seconds for one handshake


@operation(wire.CERTIFICATES)
def presented(ctx: Context, request: wire.ReadCertificates) -> wire.Certificates:
    """Asks the balancer for the certificate of each name, and judges none of them."""
    names = {str(name) for name in request["names"]}
    return {"certificates": {name: _ask(request["address"], request["port"], name) for name in sorted(names)}}


def _ask(address: str, port: int, name: str) -> wire.PresentedCertificate:
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
