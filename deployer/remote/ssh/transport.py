"""SSH transports that ask for what is cheap and known, and the check of the key that a host shows."""

from __future__ import annotations

import logging
from typing import Any

import paramiko

from deployer.errors import UntrustedHostError
from deployer.remote.ssh.known_hosts import KnownHosts, fingerprint
from deployer.remote.ssh.target import Target

# paramiko logs what it raises, traceback and all; unless somebody asked for logs that would end up on the terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_defaults: Any = paramiko.Transport  # what it prefers is public only in its documentation
_CURVES = tuple(name for name in _defaults._preferred_kex if name.startswith("curve25519"))
_GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class Transport(paramiko.Transport):
    """Cheap key exchange first, fast cipher first; plain host keys only, since certificates are not checked."""

    _preferred_kex = _CURVES + tuple(name for name in _defaults._preferred_kex if name not in _CURVES)
    _preferred_ciphers = _GCM + tuple(name for name in _defaults._preferred_ciphers if name not in _GCM)
    _preferred_keys: tuple[str, ...] = _defaults._preferred_keys

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The requested types of host keys, best first."""
        return self._preferred_keys


class Verify(paramiko.RejectPolicy):
    """Accepts the keys known for a station and no other. The client knows no keys, so it checks each one here."""

    def __init__(self, target: Target, known: KnownHosts) -> None:
        self._target = target
        self._known = known

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:  # type: ignore[override]
        """Raise UntrustedHostError unless the key is known and not revoked."""
        blob, kind = key.asbytes(), key.get_name()
        names = self._target.names
        if self._known.is_revoked(names, blob):
            raise self._untrusted("revoked", f"the host key {fingerprint(blob)} is marked as revoked", "")
        if blob in self._known.trusted(names).get(kind, set()):
            return
        trusted = self._known.trusted(names[:1])  # a key of the host's other port says nothing about this one
        if trusted:
            old = ", ".join(sorted(fingerprint(known_blob) for blobs in trusted.values() for known_blob in blobs))
            message = f"the host key changed: it is {kind} {fingerprint(blob)}, but {old} is pinned"
            hint = "the connection may be intercepted. If the host was reinstalled: deploy trust {env} --replace"
            raise self._untrusted("key_changed", message, hint)
        message = f"unknown host key: {kind} {fingerprint(blob)}"
        raise self._untrusted("key_unknown", message, "compare the fingerprint, then: deploy trust {env}")

    def _untrusted(self, code: str, message: str, hint: str) -> UntrustedHostError:
        cause = self._known.warnings[0] if self._known.warnings else None
        return UntrustedHostError(
            message, host=self._target.name, step="connect", code=code, hint=hint or None, cause=cause
        )


def factory(target: Target, known: KnownHosts) -> Any:
    """Make transports that ask for the kinds of host key we know first; else a host's other key would look new."""
    kinds = set(known.trusted(target.names))
    if "ssh-rsa" in kinds:
        kinds |= {"rsa-sha2-512", "rsa-sha2-256"}

    def make(sock: Any, **options: Any) -> Transport:
        made = Transport(sock, **options)
        made._preferred_keys = tuple(sorted(Transport._preferred_keys, key=lambda name: name not in kinds))
        return made

    return make
