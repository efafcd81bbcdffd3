"""Trusting hosts: ask for their keys, show the fingerprints, pin what a person accepted."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from deployer.errors import DeployError, UntrustedHostError, UsageError
from deployer.inventory.model import Host
from deployer.remote.ssh.dialer import Dialer
from deployer.remote.ssh.failures import Attempt, explain
from deployer.remote.ssh.known_hosts import KnownHosts, Line, fingerprint, host_names
from deployer.remote.ssh.sockets import dial
from deployer.remote.ssh.target import Target
from deployer.remote.ssh.transport import Transport

_KINDS = (("ssh-ed25519",), ("ecdsa-sha2-nistp256",), ("rsa-sha2-512", "rsa-sha2-256"))


@dataclass(frozen=True)
class HostKey:
    """A key that a host showed: its type, `SHA256:…`, and its line for a known_hosts file."""

    type: str
    fingerprint: str
    line: str


def scan(host: Host, dialer: Dialer | None = None) -> list[HostKey]:
    """Return the keys that `host` shows, strongest first, without a login. A gateway before it must be trusted already.

    Raises UnreachableError, UntrustedHostError (the gateway).
    """
    dialer = dialer or Dialer()
    target = dialer.target(host)
    keys: list[HostKey] = []
    failure: Exception | None = None
    for kinds in _KINDS:
        try:
            key = _ask(dialer, target, kinds)
        except paramiko.ssh_exception.IncompatiblePeer:  # it has none of these
            continue
        except Exception as error:
            failure = error
            break
        name = host_names(target.hostname, target.port, target.config.alias)[0]
        line = f"{name} {key.get_name()} {key.get_base64()}"
        keys.append(HostKey(key.get_name(), fingerprint(key.asbytes()), line))
    if not keys:
        attempt = Attempt(target.name, target.hostname, target.port, target.user, target.timeout, gateway=target.jump)
        raise explain(failure or paramiko.ssh_exception.IncompatiblePeer("no host key of a known type"), attempt)
    return keys


def _ask(dialer: Dialer, target: Target, kinds: tuple[str, ...]) -> paramiko.PKey:
    if target.via is not None:
        gateway: Any = dialer.gateway(target.via).transport
        sock = gateway.open_channel("direct-tcpip", (target.hostname, target.port), ("127.0.0.1", 0), target.timeout)
    else:
        sock = dial(target.hostname, target.port, target.timeout)
    transport = Transport(sock)
    transport._preferred_keys = kinds
    transport.banner_timeout = target.timeout
    try:
        transport.start_client(timeout=target.timeout)
        return transport.get_remote_server_key()
    finally:
        transport.close()


_pinning = threading.Lock()


def pin(keys: Iterable[HostKey], path: str | os.PathLike[str], replace: bool = False) -> list[HostKey]:
    """Add keys to a known_hosts file, atomically, and return those that were new.

    With `replace`, other keys that the file holds for the same names are dropped. Without it, a name whose key of the
    same type differs raises UntrustedHostError `key_changed`, and nothing is written.
    """
    with _pinning, _explained(path):
        file = Path(path)
        # Bytes that are not UTF-8 are comments of somebody's: they stay as they are.
        text = file.read_text("utf-8", "surrogateescape") if file.exists() else ""
        known = KnownHosts.read([str(file)])
        fresh = [key for key in keys if not _holds(known, key)]
        changed = [key for key in fresh if _conflicts(known, key)]
        if changed and not replace:
            raise _changed(changed, file)
        kept = _without(text, {key.line.split()[0] for key in fresh}) if replace else text
        kept += "" if not kept or kept.endswith("\n") else "\n"
        if fresh:
            _write(file, kept + "".join(key.line + "\n" for key in fresh))
        return fresh


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            "the host keys cannot be saved",
            file=os.fspath(path),
            cause=error.strerror or str(error),
            hint="make the file writable for this user",
            code="known_hosts",
        ) from None


def _holds(known: KnownHosts, key: HostKey) -> bool:
    name, kind, _ = key.line.split()
    return any(fingerprint(blob) == key.fingerprint for blob in known.trusted([name]).get(kind, ()))


def _conflicts(known: KnownHosts, key: HostKey) -> bool:
    name, kind, _ = key.line.split()
    return kind in known.trusted([name])


def _changed(keys: list[HostKey], file: Path) -> DeployError:
    names = ", ".join(f"{key.line.split()[0]} ({key.type} {key.fingerprint})" for key in keys)
    return UntrustedHostError(
        f"another key is pinned for {names}",
        file=str(file),
        code="key_changed",
        hint="if the host was reinstalled: deploy trust {env} --replace",
    )


def _without(text: str, names: set[str]) -> str:
    """Return the lines that are about none of `names`, revocations and comments included."""
    return "".join(line + "\n" for line in text.splitlines() if not _is_about(line, names))


def _is_about(line: str, names: set[str]) -> bool:
    words = line.split()
    if len(words) < 3 or words[0].startswith(("#", "@")):
        return False
    return any(Line(words[0], words[1], b"", False).matches(name) for name in names)


def _write(link: Path, text: str) -> None:
    """Replace the file atomically; its mode and owner stay, and a link to it stays a link."""
    file = Path(os.path.realpath(link))
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    before = file.stat() if file.exists() else None
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape") as out:
            if before is not None:
                os.fchmod(out.fileno(), before.st_mode & 0o7777)
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    with contextlib.suppress(PermissionError):  # only root may give a file away
                        os.fchown(out.fileno(), before.st_uid, before.st_gid)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
