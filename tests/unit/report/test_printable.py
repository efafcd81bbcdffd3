"""What hosts and hooks print cannot steer the terminal or the log that shows it."""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from deployer import events
from deployer.errors import RolloutError
from deployer.report.lines import error_block
from deployer.report.listeners import JsonLines, Plain, Rich
from deployer.report.printable import printable

HOSTILE = "\x1b]0;title\x07a\x1b[2Jb\x1b[31mred\x1b[0m\x9b2Jc\rd\x00\x08\x7f\x1b(0\x1bce\u2028f\tg"


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain text, ümlaut → 你好", "plain text, ümlaut → 你好"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[1;31mred\x1b[0m \x1b[38:5:1mm", "red m"),
        ("\x1b]0;title\x07\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1b]0;never ended", "\\x1b]0;never ended"),
        ("\x1b[2J\x1b[1;1H\x1b[?25l", ""),
        ("\x9b2J \x85 \x7f \r \x00 \x1bc", "\\x9b2J \\x85 \\x7f \\r \\x00 \\x1bc"),
        ("a\u2028b", "a\\u2028b"),
        ("abc \u202egnp.exe \u2066x\u2069", "abc \\u202egnp.exe \\u2066x\\u2069"),
    ],
)
def test_control_characters_have_no_effect(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("end", [*"[]P(", "]0;x\x07"])
def test_nothing_that_steers_is_left_of_random_bytes(end: str) -> None:
    for _ in range(200):
        text = os.urandom(200).decode("latin-1") + "\x1b" + end + os.urandom(200).decode("utf-8", "replace")
        assert not set(printable(text)) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))}


@pytest.mark.parametrize(
    "event",
    [
        events.Output(HOSTILE, host="web1"),
        events.Text(HOSTILE),
        events.Warned(HOSTILE, hint=HOSTILE),
        events.CheckFinished("test_a", "web1", "failed", HOSTILE),
        events.StepFinished("switch", ok=False, detail=HOSTILE),
    ],
)
def test_every_view_shows_it_so(event: events.Event) -> None:
    plain, screen, data = io.StringIO(), io.StringIO(), io.StringIO()
    Plain(plain)(event)
    Rich(Console(file=screen, width=400, color_system=None))(event)
    JsonLines(data)(event)
    texts = [plain.getvalue(), screen.getvalue(), *([] if event.for_people else [data.getvalue()])]
    for text in texts:
        assert "bred" in text.replace("\\u001b[31m", "") and text.replace("\n", "").replace("\t", "").isprintable()


def test_the_lines_of_an_error_too() -> None:
    block = error_block(RolloutError(HOSTILE, cause=HOSTILE, hint=HOSTILE, log=[HOSTILE]))
    assert block.count("bred") == 4 and block.replace("\n", "").replace("\t", "").isprintable()
