"""How shell text that a user wrote is run: on a host by the agent, and on the controller."""

from __future__ import annotations

from typing import List


def shell_argv(text: str) -> List[str]:
    """The words that run `text` with sh. Text of more than one line stops at the first command that fails.

    A single line runs as in `sh -c`: its status is that of its last command.
    """
    return ["/bin/sh", "-ec" if is_script(text) else "-c", text]


def is_script(text: str) -> bool:
    """Whether `text` has more than one line, blank lines at its ends aside."""
    return "\n" in text.strip()


def first_line(text: str) -> str:
    """The first line of `text` that is not blank, with `…` behind it where more lines follow."""
    line, _, rest = text.strip().partition("\n")
    return line.rstrip() + (" …" if rest.strip() else "")
