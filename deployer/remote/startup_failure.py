"""Why no agent started on a host, from what the host printed: in words, and with a hint that helps there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployer.errors import NotReadyError

_GIVE_PASSWORD = "give it with -K/--ask-become-pass or DEPLOY_SUDO_PASSWORD, or allow NOPASSWD in sudoers"
_OTHER_PASSWORD = (
    "give {user}'s password with -K/--ask-become-pass or DEPLOY_SUDO_PASSWORD, or allow NOPASSWD in sudoers"
)
_NO_TTY = "on the host, as root: echo 'Defaults:{user} !requiretty' > /etc/sudoers.d/{file}"
_ALLOW = "on the host, as root: echo '{user} ALL=(ALL:ALL) ALL' > /etc/sudoers.d/{file}; or log in as another user (-u)"
_INSTALL = "log in as root (-u root), or on the host, as root: apt install sudo"
_SUDO = (
    (
        r"incorrect password|sorry, try again|no password was provided",
        "sudo rejected the password",
        _OTHER_PASSWORD,
    ),
    (r"must have a tty", "sudo requires a terminal (requiretty)", _NO_TTY),
    (r"a password is required|terminal is required|askpass", "sudo requires a password", _GIVE_PASSWORD),
    (r"not in the sudoers|may not run", "sudo does not let {user} become root", _ALLOW),
    (r"is not allowed to execute", "sudo does not let {user} run Python as root", _ALLOW),
    (r"sudo: (command )?not found|sudo['\"”]?: no such file", "sudo is not installed", _INSTALL),
)
_OTHER_USER = re.compile(r"please login as the user \W?([A-Za-z_][A-Za-z0-9_.-]*)", re.IGNORECASE)
_LINES = 10


@dataclass(frozen=True)
class Startup:
    """One attempt to start an agent.

    `host` is the inventory name, `user` who logged in, `python` the configured interpreter.
    """

    host: str
    user: str
    python: str

    def explain(self, stdout: str, stderr: str, status: int | None) -> NotReadyError:
        """Return the error for a start that ended with exit status `status` and these outputs."""
        low = stderr.lower()
        other = _OTHER_USER.search(stdout) or _OTHER_USER.search(stderr)
        log = [*_last(stdout), *_last(stderr)][-_LINES:]
        if other:
            message = f"the host does not accept {self.user}, but another user"
            return self._error(
                message, hint=f"set ansible_user: {other[1]} in the inventory, or type -u {other[1]}", log=log
            )
        if "sudo" in low:
            for pattern, message, hint in _SUDO:
                if re.search(pattern, low):
                    return self.sudo(message, hint, log=_last(stderr))
        if "unknown option: -i" in low:  # Python 2 has no -I
            return self.too_old("2")
        if status in (126, 127) or re.search(r"(command )?not found|no such file", low):
            return self._error(
                f"Python was not found: {self.python}",
                code="no_python",
                hint="on the host: apt install python3, or dnf install python3; "
                "or set ansible_python_interpreter to its path",
                log=_last(stderr)[-5:],
            )
        return self._error(
            f"the agent did not start (exit status {status})",
            hint=f"deploy shell {{env}} {self.host} shows what a login of that user prints",
            log=log,
        )

    def sudo(self, message: str, hint: str = _OTHER_PASSWORD, log: list[str] | None = None) -> NotReadyError:
        """Return the error where sudo is what refuses."""
        values = {"user": self.user, "file": re.sub(r"[^A-Za-z0-9_-]", "_", self.user)}
        return self._error(message.format(**values), code="sudo", hint=hint.format(**values), log=log)

    def too_old(self, version: str) -> NotReadyError:
        """Return the error for a Python that is too old for the agent."""
        return self._error(
            f"{self.python} is Python {version}; 3.9 or newer is needed",
            code="old_python",
            hint="install a newer one and name it with ansible_python_interpreter, for example /usr/bin/python3.11",
        )

    def _error(
        self, message: str, *, hint: str, code: str | None = None, log: list[str] | None = None
    ) -> NotReadyError:
        return NotReadyError(message, host=self.host, step="connect", code=code, hint=hint, log=log or ())


def _last(text: str) -> list[str]:
    """Return the last lines that say something, without what only a terminal understands."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]", "", text)
    return [line.rstrip() for line in plain.splitlines() if line.strip()][-_LINES:]
