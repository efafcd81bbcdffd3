"""What `tls` asks for, checked before anything is changed: is it possible here, and is the certificate a good one.

A certificate is a PEM file (RFC 7468): the app's own first, then those of its issuers. Its key is a secret.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from deployer.errors import SettingsError
from deployer.settings.load import Loaded, shown
from deployer.settings.models import Tls
from deployer.settings.secrets import resolve_secrets

SOON_S = 14 * 86400.0
"""A certificate that ends within this many seconds is warned about."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says: its names, when it ends (seconds since the epoch), SHA-256 of its DER form in hex.

    `lifetime` is for how many seconds it was made. `pem` is what a balancer loads, certificates and then the key; empty
    for one that was only looked at.
    """

    names: tuple[str, ...]
    ends: float
    lifetime: float
    sha256: str
    pem: str = field(default="", repr=False)

    @property
    def until(self) -> str:
        """The day it ends, in UTC."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.ends))

    @property
    def description(self) -> str:
        """`certificate of shop.example.com, until 2027-01-02`."""
        return f"certificate of {', '.join(self.names) or 'no name'}, until {self.until}"

    def covers(self, name: str) -> bool:
        """Return whether it is for that name; a wildcard stands for one label (RFC 6125)."""
        name = name.lower()
        above = "*." + name.partition(".")[2]
        return name in self.names or (above in self.names and not name.startswith("*"))

    def days_left(self, now: float | None = None) -> float:
        """Return days until it ends; negative when it has ended."""
        return (self.ends - (time.time() if now is None else now)) / 86400.0

    def ends_soon(self, now: float | None = None, *, renewed: bool = False) -> bool:
        """Return whether a person should look.

        One that is `renewed` by itself may be short-lived: a sixth of its life.
        """
        left = self.days_left(now) * 86400.0
        return left < (min(SOON_S, self.lifetime / 6) if renewed else SOON_S)


def certificate_of(pem: bytes) -> Certificate:
    """Return what the first certificate of a PEM text says; ValueError when there is none."""
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [name.lower() for name in named.get_values_for_type(x509.DNSName)]
        names += [str(name) for name in named.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:  # no client of today looks at the common name
        names = []
    began, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return Certificate(tuple(names), ends, ends - began, certificate.fingerprint(hashes.SHA256()).hex())


def require_possible(loaded: Loaded, kind: str, *, serves_tls: bool, obtains_certificates: bool) -> None:
    """Raise SettingsError, with file and line, when `tls` asks for what a balancer of this kind cannot do.

    Args:
        loaded: the settings.
        kind: the balancer's name; `none` without one.
        serves_tls: it can serve with a certificate of the user's own.
        obtains_certificates: it gets certificates by itself.
    """
    settings = loaded.settings
    tls = settings.tls
    if tls in (None, "off"):
        return
    own = isinstance(tls, Tls) and tls.certificate is not None
    if not serves_tls:
        raise _wrong(
            loaded, "tls needs a balancer of deploy's own: haproxy, nginx or caddy", hint="or end TLS elsewhere"
        )
    if not settings.balancer.manage:
        raise _wrong(
            loaded,
            "tls needs a balancer that deploy configures, but balancer.manage is false",
            hint="leave tls out, and configure TLS at the balancer",
        )
    if not own and not obtains_certificates:
        raise _wrong(
            loaded,
            f"only Caddy gets certificates by itself, and the balancer here is {kind}",
            hint="tls: {certificate: PATH, key: NAME OF A SECRET}, or balancer: {kind: caddy}",
        )
    if not settings.domains:
        raise _wrong(
            loaded, "tls needs domains: the names that the certificate is for", hint="domains: [shop.example.com]"
        )
    if isinstance(tls, Tls) and tls.key is not None and tls.key not in settings.secrets:
        raise _wrong(
            loaded,
            f"tls.key: unknown secret {tls.key}",
            "key",
            hint=f'secrets: {{{tls.key}: {{command: "cat shop.key"}}}} reads the PEM text of the key',
        )


def read_certificate(loaded: Loaded, now: float | None = None) -> Certificate | None:
    """Return the user's own certificate with its key; None where there is none.

    Raises SettingsError, with file and line: it cannot be read, the key is not its own, it has ended or not begun, or
    it is not for all `domains`.
    """
    tls = loaded.settings.tls
    if not isinstance(tls, Tls) or tls.certificate is None or tls.key is None:
        return None
    now = time.time() if now is None else now
    path = loaded.base / tls.certificate
    chain = _chain(loaded, path)
    first = chain[0]
    key = _key(loaded, tls.key)
    if _public(first.public_key()) != _public(key.public_key()):
        behind = any(_public(certificate.public_key()) == _public(key.public_key()) for certificate in chain[1:])
        raise _wrong(
            loaded,
            f"the secret {tls.key} is not the key of the first certificate in {shown(path)}",
            "key",
            hint="put the certificate of the key first, those of its issuers behind it" if behind else None,
        )
    text = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)
    own_certificate = certificate_of(text)
    if own_certificate.ends <= now:
        raise _wrong(loaded, f"the certificate in {shown(path)} expired on {own_certificate.until}", "certificate")
    if first.not_valid_before_utc.timestamp() > now + 300:
        begins = first.not_valid_before_utc.strftime("%Y-%m-%d %H:%M")
        raise _wrong(loaded, f"the certificate in {shown(path)} is valid from {begins} UTC only", "certificate")
    missing = [name for name in loaded.settings.domains if not own_certificate.covers(name)]
    if missing:
        raise _wrong(
            loaded,
            f"the certificate in {shown(path)} is not for {', '.join(missing)}",
            "certificate",
            cause=f"its names are {', '.join(own_certificate.names) or 'none'}",
        )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        own_certificate.names,
        own_certificate.ends,
        own_certificate.lifetime,
        own_certificate.sha256,
        (text + private).decode(),
    )


def _chain(loaded: Loaded, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise _wrong(loaded, f"the certificate {shown(path)} cannot be read: {error.strerror}", "certificate") from None
    except ValueError:
        raise _wrong(
            loaded,
            f"{shown(path)} holds no certificate",
            "certificate",
            hint="it must be PEM: -----BEGIN CERTIFICATE-----",
        ) from None


def _key(loaded: Loaded, name: str) -> PrivateKeyTypes:
    """Return the private key in a secret. The error for an invalid one contains no byte of it."""
    refs = loaded.settings.secrets
    text = resolve_secrets({name: refs[name]} if isinstance(refs, dict) else (name,), loaded.base)[name]
    try:
        return serialization.load_pem_private_key(text.encode() + b"\n", password=None)
    except TypeError:
        problem, hint = "has a passphrase, so a balancer cannot use it", "openssl pkey -in OLD -out NEW"
    except (ValueError, UnsupportedAlgorithm):
        problem, hint = "is not a valid private key", "it must be PEM: -----BEGIN PRIVATE KEY-----"
    raise _wrong(loaded, f"the secret {name} {problem}", "key", hint=hint)


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _wrong(
    loaded: Loaded, message: str, *below: str, cause: str | None = None, hint: str | None = None
) -> SettingsError:
    mark = loaded.mark("tls", *below)
    return SettingsError(message, file=mark.file, line=mark.line, cause=cause, hint=hint, code="tls")
