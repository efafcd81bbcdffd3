"""Text of hosts and hooks, made safe for terminals and logs."""

from __future__ import annotations

import re

# Control sequences (colours, cursor, erase) and operating system commands (titles, links, clipboard) of terminals.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)")
# C0, DEL and C1, but for tab and newline; what else ends a line in Unicode, or changes its direction (UAX #9).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return the text without what a terminal would obey: sequences are left out, other control characters are escaped.

    Tabs and newlines stay.
    """
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], _SEQUENCE.sub("", text))
