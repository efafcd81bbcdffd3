"""The options of `unit:` that a program of supervisord can have too, in its own way; every other is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deployer.errors import SettingsError
from deployer.settings.values import BYTES

USUAL_FILES = 65536
"""Open files an instance may have unless the settings say otherwise, as its unit under systemd has it."""

_USUAL = f'ulimit -n {USUAL_FILES} 2>/dev/null || ulimit -n "$(ulimit -H -n)"'
_INSTEAD = {
    "Memory": "LimitAS: bounds what each process may map; systemctl edit supervisor.service bounds them together",
    "CPU": "Nice: 10 lets others go first; systemctl edit supervisor.service bounds all programs together",
    "Environment": "write env: in deploy.yaml",
}


@dataclass(frozen=True)
class ProgramOptions:
    """`before` is what sh does before it starts the program; `umask` is supervisord's own key, "" for its default."""

    before: str
    umask: str = ""


def program_options(options: Mapping[str, str | int | bool]) -> ProgramOptions:
    """Return what `unit:` comes to under supervisord.

    `LimitNOFILE` (files), `LimitAS` (bytes, `2G`), `Nice` (0 to 19) and `UMask`. SettingsError for any other, or for a
    value that cannot be.
    """
    before, umask = [_USUAL], ""
    for name, value in options.items():
        if name == "LimitNOFILE":
            before[0] = f"ulimit -n {_number(name, value, most=1 << 30)} || exit 1"
        elif name == "LimitAS":
            before.append(f"ulimit -v {_bytes(name, value) // 1024} || exit 1")
        elif name == "Nice":
            before.append(f"renice -n {_number(name, value, most=19)} -p $$ >/dev/null || exit 1")
        elif name == "UMask":
            umask = _octal(value)
        else:
            instead = next((text for start, text in _INSTEAD.items() if name.startswith(start)), "")
            raise SettingsError(
                f"unit: {name} is a systemd option, but the supervisor is supervisord",
                cause="deploy applies LimitNOFILE, LimitAS, Nice and UMask there by itself",
                hint=instead or "leave it out, or write supervisor: systemd",
            )
    return ProgramOptions("; ".join(before), umask)


def _number(name: str, value: str | int | bool, *, most: int) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,10}", str(value)) or int(value) > most:
        raise SettingsError(
            f"unit: {name}: {value!r} is not a number from 0 to {most}", hint="under supervisord: a number"
        )
    return int(value)


def _bytes(name: str, value: str | int | bool) -> int:
    amount = re.fullmatch(r"(\d{1,15})([KMGT]?)", str(value))
    if isinstance(value, bool) or not amount:
        raise SettingsError(f"unit: {name}: {value!r} is not a valid size", hint="such as 2G or 512M")
    return int(amount[1]) * BYTES[amount[2]]


def _octal(value: str | int | bool) -> str:
    if isinstance(value, bool) or not re.fullmatch(r"0?[0-7]{3}", str(value)):
        raise SettingsError(
            f"unit: UMask: {value!r} is not a valid mask", hint='three or four octal digits in quotes: "0027"'
        )
    return str(value)
