"""The text of a host's secrets file: `export NAME='value'` lines that every POSIX sh reads back exactly."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.errors import SettingsError
from deployer.settings.models import ENV_NAME


def render(values: Mapping[str, str]) -> str:
    """Return the file that sets `values`, in the order of their names; any text survives, line breaks and quotes too.

    Raises:
        SettingsError: a name is not a valid variable name, or a value holds a NUL character. Values are never named.
    """
    lines = []
    for name, value in sorted(values.items()):
        if not ENV_NAME.match(name) or name.endswith("\n"):
            raise SettingsError(
                f"secrets: {name!r} is not a valid environment variable name", hint="letters, digits, _"
            )
        if "\0" in value:
            raise SettingsError(f"secrets: the value of {name} holds a NUL character, which no environment can carry")
        quoted = value.replace("'", "'\\''")
        lines.append(f"export {name}='{quoted}'\n")
    return "".join(lines)
