"""The samples of output in README.md and docs/ have the columns of today's output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from deployer.events import StepFinished
from deployer.report.lines import line_of

ROOT = Path(__file__).parents[3]
_STEP = re.compile(
    r"(?P<mark>[✓✗]) (?P<place>[\w.:-]+) +(?P<step>[a-z][a-z ]*?) +(?P<took>[\d.]+) s(?: +(?P<detail>.+))?"
)


def samples(text: str) -> Iterator[tuple[str, str]]:
    """Each line about a step, and the same as the program would print it."""
    for line in text.splitlines():
        match = _STEP.fullmatch(line)
        if match:
            place, host = ("", match["place"]) if ":" not in match["place"] else (match["place"], "")
            step, detail, took = match["step"], match["detail"] or "", float(match["took"])
            event = StepFinished(
                step, host=host, instance=place, ok=match["mark"] == "✓", detail=detail, duration_s=took
            )
            yield line, str(line_of(event))


def test_the_columns_are_those_of_the_program() -> None:
    found = [
        (path.name, *pair)
        for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for pair in samples(path.read_text())
    ]
    assert len(found) > 5
    assert not [f"{name}: {line!r} is printed as {printed!r}" for name, line, printed in found if line != printed]


def test_other_columns_are_noticed() -> None:
    assert [line == printed for line, printed in samples("✓ web1:0   switch   1.4 s   proven by 3 processes")] == [
        False
    ]
