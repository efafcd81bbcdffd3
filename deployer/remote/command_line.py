"""The one command that runs on a host: Python with the loader, as root where configured."""

from __future__ import annotations

import shlex
from typing import Literal

from deployer.inventory.model import Host
from deployer.remote.bundle import LOADER

Escalation = Literal["no", "try", "must"]

_SUDO = "env LANGUAGE=C LC_MESSAGES=C sudo -H"


def escalation(host: Host, become: bool | None = None) -> Escalation:
    """Return whether the agent is to be root: `try` takes what sudo gives without a question.

    `become` overrides the inventory's. In a lab of processes (`prefix`) there is no root to become.
    """
    wanted = host.become if become is None else become
    if wanted is False or host.prefix:
        return "no"
    return "must" if wanted else "try"


def command_line(python: str, token: str, size: int, how: Escalation, marker: str | None = None) -> str:
    """Return the command for the login shell of a host, quoted so that sh, csh and fish all pass it on.

    `size` is the bundle's, in bytes. `marker`: sudo asks for the password with this text; without one it never asks.
    """
    program = [python, "-ISc", LOADER, token, str(size)]
    if how == "no":
        return "exec " + shlex.join(program)
    return shlex.join(["exec", "sh", "-c", _script(how, marker), "sh", *program])


def _script(how: Escalation, marker: str | None) -> str:
    asking = f"-S -p {shlex.quote(marker)}" if marker else "-n"
    as_root = f'exec {_SUDO} {asking} -- "$@"'
    if how == "must":
        return f'[ "$(id -u)" = 0 ] && exec "$@"; {as_root}'
    able = "command -v sudo >/dev/null 2>&1"
    if not marker:
        able += " && sudo -n true >/dev/null 2>&1 </dev/null"
    return f'[ "$(id -u)" = 0 ] && exec "$@"; if {able}; then {as_root}; fi; exec "$@"'
