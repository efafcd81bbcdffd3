"""Which keys are offered to a host, in which order.

First what the inventory names, then ssh-agent, then what `~/.ssh/config` names; with IdentitiesOnly the agent offers
only keys that were named. Few keys, because sshd counts every offer against MaxAuthTries.
"""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import paramiko
from paramiko.agent import AgentSSH
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import PasswordRequiredException

_MOST = 6  # OpenSSH's default MaxAuthTries


@dataclass
class Keyring:
    """Private keys read from files, each once for all hosts. Thread-safe."""

    _keys: dict[str, paramiko.PKey | str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, path: str) -> paramiko.PKey | str:
        """Return the key, or why there is none (`missing`, `has a passphrase` …)."""
        path = os.path.expanduser(path)
        with self._lock:
            if path not in self._keys:
                self._keys[path] = _load(path)
            return self._keys[path]


def _load(path: str) -> paramiko.PKey | str:
    try:
        return paramiko.PKey.from_path(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return error.strerror or "unreadable"
    except (PasswordRequiredException, TypeError):
        return "has a passphrase: ssh-add it"
    except UnknownKeyType:
        return "has an unsupported type (sk-, DSA)"
    except Exception as error:  # cryptography raises its own for what it cannot read
        return f"unreadable: {error}"


class Offers(AuthStrategy):
    """The keys for one connection, as paramiko asks for them. Afterwards `tried` has the outcome of each.

    Args:
        user: who logs in.
        named: key files of the inventory.
        configured: key files of the SSH configuration, its defaults included.
        identities_only: ssh-agent offers only keys whose files are among these.
        agent: the socket of ssh-agent; None: SSH_AUTH_SOCK.
        keyring: where files are loaded.
    """

    def __init__(
        self,
        user: str,
        named: Sequence[str],
        configured: Sequence[str],
        identities_only: bool,
        agent: str | None,
        keyring: Keyring,
    ) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._user = user
        self._named, self._configured = named, configured
        self._identities_only = identities_only
        self._agent = agent
        self._keyring = keyring
        self.tried: list[str] = []

    def get_sources(self) -> Iterator[AuthSource]:
        """Yield the keys in order, each at most once, at most as many as sshd takes."""
        seen: set[bytes] = set()
        for label, key in self._candidates():
            blob = key.asbytes()
            if blob in seen or len(seen) >= _MOST:
                continue
            seen.add(blob)
            self.tried.append(f"{label} was refused")
            yield InMemoryPrivateKey(self._user, key)

    def _candidates(self) -> Iterator[tuple[str, paramiko.PKey]]:
        held = self._held_by_agent()
        yield from self._from_files(self._named, held)
        if self._identities_only:
            files = [*self._named, *self._configured]
            yield from ((label, key) for label, key in held if key.asbytes() in set(_public_keys(files)))
        else:
            yield from held
        yield from self._from_files(self._configured, [])

    def _from_files(
        self, paths: Sequence[str], held: Sequence[tuple[str, paramiko.PKey]]
    ) -> Iterator[tuple[str, paramiko.PKey]]:
        for path in paths:
            key = self._keyring.load(path)
            if isinstance(key, paramiko.PKey):
                yield path, key
                continue
            same = set(_public_keys([path]))
            unlocked = [entry for entry in held if entry[1].asbytes() in same]
            yield from unlocked
            if not unlocked and (key != "missing" or path in self._named):
                self.tried.append(f"{path}: {key}")

    def _held_by_agent(self) -> list[tuple[str, paramiko.PKey]]:
        path = self._agent if self._agent and self._agent != "SSH_AUTH_SOCK" else os.environ.get("SSH_AUTH_SOCK")
        if not path or path == "none":
            return []
        try:
            keys = _AgentAt(path.strip('"')).get_keys()
        except Exception:  # an agent that is gone, or that speaks otherwise
            return []
        return [(f"{getattr(key, 'comment', '') or key.get_name()} of ssh-agent", key) for key in keys]


class _AgentAt(AgentSSH):
    """The ssh-agent behind a socket; one connection for each user of it, since it answers one question at a time."""

    def __init__(self, path: str) -> None:
        super().__init__()
        made: Any = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.connect(os.path.expanduser(path))
        speaking: Any = self  # the stubs do not know it
        speaking._connect(made)


def _public_keys(paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        try:
            with open(os.path.expanduser(path) + ".pub", encoding="utf-8") as file:
                yield base64.b64decode(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            continue


def describe(strategy: Any) -> str:
    """Return what became of every key, for an error: `~/.ssh/a was refused; ~/.ssh/b: has a passphrase`."""
    tried: list[str] = getattr(strategy, "tried", [])
    return "; ".join(tried) or "no key was available"
