"""What the balancers' configurations have in common where TLS ends there."""

from __future__ import annotations

from typing import Any

from deployer.agent.model.resources import Absent, Directory, File, Resource
from deployer.balancers.base import Pool
from deployer.balancers.values import Listen

CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""For TLS 1.2, the oldest that is spoken: with forward secrecy and authenticated encryption only (RFC 9325, 4.2)."""


def certificate_path(pool: Pool, folder: str) -> str:
    """Return where the app's certificates and its key lie on the balancer's host, in one PEM file."""
    return f"{folder}/{pool.site.app}-{pool.site.env}.pem"


def secure(pool: Pool) -> dict[str, Any] | None:
    """Return where the app is served with TLS, `{listen, address, port, frontend}`; None without."""
    if pool.https is None:
        return None
    listen = Listen.parse(pool.https.listen)
    return {"listen": listen.text, "address": listen.address, "port": listen.port, "frontend": listen.name}


def no_certificate(pool: Pool, folder: str, handler: str) -> list[Resource]:
    """Return the end of the file that `certificate` writes."""
    return [Absent(certificate_path(pool, folder), notify=(handler,))]


def certificate(pool: Pool, folder: str, handler: str, owner: str = "") -> list[Resource]:
    """Return the file of the user's own certificate and key, for `owner` alone; where the app has none any more, its
    end."""
    given = pool.https.certificate if pool.https else None
    if given is None:
        return no_certificate(pool, folder, handler)
    if not given.pem:
        return []
    return [
        Directory(folder, owner=owner, group=owner, mode="0700"),
        File(
            certificate_path(pool, folder),
            given.pem,
            owner,
            owner,
            "0600",
            notify=(handler,),
            sensitive=True,
            told=given.description,
        ),
    ]
