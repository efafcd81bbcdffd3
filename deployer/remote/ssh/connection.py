"""A Fabric connection that checks host keys, knows the user's SSH configuration, and does not dawdle."""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

import fabric
import paramiko
from paramiko.config import SSHConfig

from deployer.errors import UnreachableError
from deployer.remote.ssh.authentication import Offers, describe
from deployer.remote.ssh.failures import Attempt, closed_early, explain, not_answered
from deployer.remote.ssh.known_hosts import KnownHosts
from deployer.remote.ssh.sockets import dial, through_command
from deployer.remote.ssh.target import Target
from deployer.remote.ssh.transport import Verify, factory

_PROXY_END_S = 5.0  # for a killed ProxyCommand to end
_TRIES = 4  # connects, when sshd hangs up early


class Shared(Protocol):
    """What connections share (`Dialer`)."""

    def offers(self, target: Target) -> Offers:
        """Return the keys to offer to a target."""

    def known_hosts(self, target: Target) -> KnownHosts:
        """Return the host keys that count for a target."""

    def gateway(self, target: Target) -> Connection:
        """Return the one open connection to a gateway."""


@contextlib.contextmanager
def closed_after(seconds: float, connection: Connection, host: str) -> Iterator[None]:
    """Close the connection if the block takes longer: paramiko waits without a limit for answers about a channel.

    Raises:
        UnreachableError `timeout`: it took longer.
    """
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        connection.close()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if not expired.is_set():
            raise
        raise UnreachableError(
            f"the login works, but the host did not start a program within {seconds:g} s",
            host=host,
            step="connect",
            code="timeout",
            hint="look at that host's load and at the log of its sshd, then type deploy {command} {env}",
        ) from error
    finally:
        timer.cancel()


class Connection(fabric.Connection):  # type: ignore[misc]
    """A `fabric.Connection` to one settled target; everything Fabric offers works on it.

    `open` raises UnreachableError or UntrustedHostError. Made by `Dialer.connect`.
    """

    def __init__(self, target: Target, dialer: Shared) -> None:
        config = fabric.Config(ssh_config=SSHConfig(), lazy=True)
        super().__init__(
            target.hostname,
            user=target.user,
            port=target.port,
            config=config,
            gateway=None,
            connect_timeout=max(1, round(target.timeout)),
            connect_kwargs={"allow_agent": False, "look_for_keys": False},
        )
        # Fabric keeps attributes of its own only; the rest of it is plain data behind a proxy.
        self._set(target=target, dialer=dialer, proxy=None)

    def open(self) -> Any:
        """Connects, checks the host key and logs in. Nothing happens when that is done already."""
        if self.is_connected:
            return None
        target: Target = self.target
        offers = self.dialer.offers(target)
        try:
            self._open_patiently(target, offers)
        except (OSError, EOFError, paramiko.SSHException) as error:
            place = (target.name, target.hostname, target.port, target.user, target.timeout)
            tried = Attempt(*place, describe(offers), target.jump)
            raise explain(error, tried) from error
        return None

    def close(self) -> None:
        """Close the connection, and end a ProxyCommand's process. Never raises: a dead link cannot say goodbye."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            super().close()
        self._drop()

    def _open_patiently(self, target: Target, offers: Offers) -> None:
        """Try again when sshd hangs up early: above MaxStartups it does so at random."""
        for left in reversed(range(_TRIES)):
            began = time.monotonic()
            try:
                self._open_once(target, offers)
                return
            except BaseException as error:
                self._drop()
                if time.monotonic() - began >= target.timeout and not_answered(error):
                    raise TimeoutError("timed out") from error
                if not closed_early(error) or not left:
                    raise
            time.sleep(random.uniform(0.1, 0.4) * 2 ** (_TRIES - 1 - left))

    def _drop(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.client.close()
        if self.proxy is not None:
            self.proxy.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.proxy.wait(_PROXY_END_S)
            self._set(proxy=None)

    def _open_once(self, target: Target, offers: Offers) -> None:
        known = self.dialer.known_hosts(target)
        self.client.set_missing_host_key_policy(Verify(target, known))
        self.client.connect(
            hostname=target.hostname,
            port=target.port,
            username=target.user,
            sock=self._socket(target),
            timeout=target.timeout,
            banner_timeout=target.timeout,
            auth_timeout=max(target.timeout, 15),
            channel_timeout=max(target.timeout, 15),
            transport_factory=factory(target, known),
            auth_strategy=offers,
        )
        self.transport = self.client.get_transport()
        if target.config.alive_interval:
            self.transport.set_keepalive(target.config.alive_interval)

    def _socket(self, target: Target) -> Any:
        if target.via is not None:
            gateway = self.dialer.gateway(target.via)
            address = (target.hostname, target.port)
            return gateway.transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=target.timeout)
        if target.command:
            made, process = through_command(target.command)
            self._set(proxy=process)
            return made
        return dial(target.hostname, target.port, target.timeout)
