"""The README's first command, typed as a person types it."""

from __future__ import annotations

import sys

from support.project import REPOSITORY
from support.terminal import Terminal


def test_make_demo_on_a_terminal() -> None:
    words = ["make", "demo", f"VENV={sys.prefix}"]
    with Terminal(words, REPOSITORY, columns=80, rows=24) as terminal:
        assert terminal.end(600) == 0, terminal.text
        receipt = terminal.text[terminal.text.index("receipt: ") :]
        assert " failed 0 " in receipt and " stale 0 " in receipt, receipt
        assert "\nsucceeded: " in receipt
        assert terminal.cursor_shown
