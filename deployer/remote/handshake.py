"""From a bare channel to a running agent: skip the output of login scripts, answer sudo, report what is missing."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deployer.errors import NotReadyError, UnreachableError
from deployer.remote.startup_failure import Startup

_MOST_NOISE = 1 << 20  # bytes of login noise that are skipped


@dataclass
class Handshake:
    """Waits for the agent's first line on a channel.

    Args:
        host: the inventory name, for errors.
        channel: the paramiko channel on which the command was just started.
        token: what the line carries.
        python: the interpreter that was configured.
        marker: sudo's prompt, if there is a password to give.
        password: that password.
    """

    host: str
    channel: Any
    token: str
    python: str
    marker: str | None = None
    password: str | None = None

    def __post_init__(self) -> None:
        self._out = b""
        self._errors = bytearray()
        self._answered_prompts = 0
        self._arrived = threading.Event()
        self.channel.in_buffer.set_event(self._arrived)

    def wait(self, timeout: float, send_bundle: Callable[[], None]) -> bytes:
        """Return the bytes that follow the agent's first line.

        `send_bundle` is called as soon as no other program reads.

        Raises NotReadyError: no Python, one too old, no sudo; UnreachableError `timeout`.
        """
        ends = time.monotonic() + timeout
        line = re.compile(rb"\nDEPLOY-AGENT " + self.token.encode() + rb" (ready|old) ([0-9.]+)\n")
        sent = self.marker is None
        if sent:
            self._try(send_bundle)
        while True:
            match = line.search(self._out)
            if match and match[1] == b"old":
                raise self._startup.too_old(match[2].decode())
            if match:
                if not sent:
                    self._try(send_bundle)
                return self._out[match.end() :]
            if not self._hear() and not self._more(ends):
                raise self._no_agent()

    def stderr(self) -> str:
        """Return the host's output on stderr so far."""
        return self._errors[-(1 << 16) :].decode("utf-8", "replace")

    def _try(self, send: Callable[[], None]) -> None:
        try:
            send()
        except (OSError, EOFError):  # it has ended already; what it said tells why
            return

    def _hear(self) -> bool:
        """Take what is there. False when there was nothing."""
        heard = False
        while self.channel.recv_stderr_ready():
            self._errors += self.channel.recv_stderr(1 << 16)
            heard = True
        if heard:
            self._answer_sudo()
        if self.channel.recv_ready():
            self._out += self.channel.recv(1 << 16)
            heard = True
            if len(self._out) > _MOST_NOISE:
                self._out = self._out[-4096:]
        return heard

    def _more(self, ends: float) -> bool:
        """Wait a little for more; False when nothing can come. Raises when the time is over."""
        if self.channel.closed or self.channel.eof_received:
            time.sleep(0.05)  # stderr and the exit status come after the end of stdout
            ready = self.channel.recv_ready() or self.channel.recv_stderr_ready()
            return bool(
                ready or (not (self.channel.closed or self.channel.exit_status_ready()) and time.monotonic() < ends)
            )
        if time.monotonic() > ends:
            raise UnreachableError(
                "the login works, but the agent did not answer in time",
                host=self.host,
                step="connect",
                code="timeout",
                hint="does a login script of that user wait for input?",
                log=[*self._stdout().splitlines()[-5:], *self.stderr().splitlines()[-5:]],
            )
        self._arrived.wait(0.05)
        return True

    def _answer_sudo(self) -> None:
        if not self.marker or not self.password:
            return
        prompts = self._errors.count(self.marker.encode())
        if prompts > 1:
            self.channel.close()
            raise self._startup.sudo("sudo rejected the password")
        if prompts == 1 and self._answered_prompts == 0:
            self._answered_prompts = 1
            self.channel.sendall(self.password.encode() + b"\n")

    def _no_agent(self) -> NotReadyError:
        printed = self.stderr()
        if self.marker:
            printed = printed.replace(self.marker, "[sudo] password: ")
        status = self.channel.exit_status if self.channel.exit_status_ready() else None
        return self._startup.explain(self._stdout(), printed, status)

    def _stdout(self) -> str:
        return self._out[-(1 << 16) :].decode("utf-8", "replace")

    @property
    def _startup(self) -> Startup:
        return Startup(self.host, self.channel.get_transport().get_username() or "", self.python)
