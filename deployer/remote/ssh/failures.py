"""Why a connection failed, in words and with a hint, from what the socket or paramiko raised."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import paramiko
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from deployer.agent.model.endpoints import place
from deployer.errors import DeployError, UnreachableError


@dataclass(frozen=True)
class Attempt:
    """What was tried: the inventory's name of the host, `hostname:port`, the user, seconds to wait, the keys' fate.

    `gateway` is the station before it, as ssh's option -J has it; empty for none.
    """

    host: str
    hostname: str
    port: int
    user: str
    timeout: float
    keys: str = ""
    gateway: str = ""

    @property
    def place(self) -> str:
        """`hostname:port`, an IPv6 address in brackets."""
        return place(self.hostname, self.port)

    @property
    def options(self) -> str:
        """The words with which ssh and its kin connect as it was tried here, without the user and the name."""
        return (f"-J {self.gateway} " if self.gateway else "") + f"-p {self.port}"

    @property
    def ssh(self) -> str:
        """The command with which a person tries the same."""
        return f"ssh {self.options} {self.user}@{self.hostname}"


def explain(error: BaseException, attempt: Attempt) -> DeployError:
    """Return the error to show for `error`; one of ours is passed on as it is."""
    if isinstance(error, DeployError):
        return error
    if isinstance(error, socket.gaierror):
        return _unreachable(
            attempt, "dns", f"the name {attempt.hostname} cannot be resolved", "check the name, or set ansible_host"
        )
    if isinstance(error, paramiko.AuthenticationException):
        return _refused_login(attempt)
    if isinstance(error, (NoValidConnectionsError, ConnectionRefusedError)):
        hint = f"is sshd running there? Another port is set with ansible_port. Try: {attempt.ssh}"
        return _unreachable(attempt, "refused", f"{attempt.place} refused the connection", hint)
    if isinstance(error, IncompatiblePeer):
        hint = "update the host's OpenSSH: SHA-1 and DSA are not supported"
        return _unreachable(
            attempt, "incompatible", f"{attempt.place} and this machine share no SSH algorithm", hint, str(error)
        )
    if isinstance(error, TimeoutError) or "timeout" in str(error).lower() or "timed out" in str(error).lower():
        hint = f"is the host up, and does a firewall block the port? Try: {attempt.ssh}"
        return _unreachable(attempt, "timeout", f"no answer from {attempt.place} within {attempt.timeout:g} s", hint)
    if closed_early(error):
        hint = (
            "is it an SSH port? sshd also closes connections above MaxStartups, or from a blocked address. "
            f"Try: {attempt.ssh}"
        )
        return _unreachable(attempt, "closed", f"{attempt.place} closed the connection before the login", hint)
    cause = str(error) or type(error).__name__
    hint = f"is the address right, and does a route lead there? Try: {attempt.ssh}"
    return _unreachable(attempt, "unreachable", f"cannot connect to {attempt.place}", hint, cause)


def closed_early(error: BaseException) -> bool:
    """Return whether the other end hung up before its banner (MaxStartups does that at random): worth another
    try."""
    if isinstance(error, (ConnectionResetError, EOFError, BrokenPipeError)):
        return True
    return isinstance(error, paramiko.SSHException) and "banner" in str(error).lower()


def not_answered(error: BaseException) -> bool:
    """Return whether paramiko, once its time was over, may have meant a timeout, which it reports in many ways."""
    return isinstance(error, paramiko.SSHException) and not isinstance(error, paramiko.AuthenticationException)


def _refused_login(attempt: Attempt) -> UnreachableError:
    message = f"{attempt.place} rejected the login of {attempt.user}"
    jump = f"-o ProxyJump={attempt.gateway} " if attempt.gateway else ""
    copy = f"ssh-copy-id {jump}-p {attempt.port} {attempt.user}@{attempt.hostname}"
    hint = f"-u USER or ansible_user sets another user; {copy} adds your key"
    return _unreachable(attempt, "auth", message, hint, attempt.keys or None)


def _unreachable(attempt: Attempt, code: str, message: str, hint: str, cause: str | None = None) -> UnreachableError:
    return UnreachableError(message, host=attempt.host, step="connect", code=code, hint=hint, cause=cause)
