"""A journal that loses entries while it is followed: reading goes on, and says that lines may be missing.

`journalctl` is a small program here that treats `--cursor` and `--since` as the real one does. tests/machines follows a
real journal while it is vacuumed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.instance import logs
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.logs import LogPage, LogSource, ReadLogs
from deployer.agent.operation import Context, OpError

JOURNALCTL = f"""#!{sys.executable}
import json, os, sys

args = sys.argv[1:]
journal = json.load(open(os.environ["JOURNAL"]))
if journal["rotates"]:
    open(os.path.join(journal["rotates"], str(os.getpid()) + ".journal"), "w").close()
if journal["fails"] in args:
    sys.exit("Failed to seek to cursor: Invalid argument")


def time_of(cursor):
    return int(dict(part.split("=") for part in cursor.split(";"))["t"], 16)


begin = 0
if "--cursor" in args:
    begin = time_of(args[args.index("--cursor") + 1])
elif args[args.index("--since") + 1].startswith("@") if "--since" in args else False:
    begin = float(args[args.index("--since") + 1][1:]) * 1e6
for entry in journal["entries"]:
    if time_of(entry["__CURSOR"]) >= begin:
        print(json.dumps(entry), flush=True)
sys.stdout.write(journal["tail"])
"""


def entry(number: int, journal: str = "a", text: str = "") -> dict[str, str]:
    cursor = f"s={journal};i={number:x};b=boot;m={number:x};t={number:x};x={number:x}"
    return {"__CURSOR": cursor, "__REALTIME_TIMESTAMP": str(number), "MESSAGE": text or f"line {number}"}


class Journal:
    """The entries that journalctl finds, and the cursor of the last answer."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "journal.json"
        self._site = Site("shop", "prod", str(folder / "srv"))
        self.cursor: Any = None

    def has(self, *entries: dict[str, str], fails: str = "nothing", tail: str = "", rotates: str = "") -> None:
        journal = {"entries": entries, "fails": fails, "tail": tail, "rotates": rotates}
        self._file.write_text(json.dumps(journal))

    def page(self) -> LogPage:
        log: LogSource = {"journal": "shop@8000.service", "file": "", "cursor": self.cursor}
        request: ReadLogs = {"site": self._site.to_wire(), "logs": {"8000": log}, "lines": 50}
        page = logs.read(Context(), request)["logs"]["8000"]
        self.cursor = page["cursor"]
        return page

    def read(self) -> tuple[list[str], bool]:
        page = self.page()
        return [text for _, text in page["lines"]], page["gap"]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    program = tmp_path / "bin/journalctl"
    program.parent.mkdir()
    program.write_text(JOURNALCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("JOURNAL", str(tmp_path / "journal.json"))
    made = Journal(tmp_path)
    made.has(entry(1), entry(2))
    assert made.read() == (["line 1", "line 2"], False)
    return made


def test_every_entry_once_while_nothing_is_removed(journal: Journal) -> None:
    assert journal.read() == ([], False)
    journal.has(entry(1), entry(2), entry(3))
    assert journal.read() == (["line 3"], False)
    assert journal.read() == ([], False)


def test_after_a_vacuum_no_entry_that_is_left_is_skipped_and_the_gap_is_said(journal: Journal) -> None:
    journal.has(entry(5), entry(6))
    assert journal.read() == (["line 5", "line 6"], True)
    assert journal.read() == ([], False)


def test_an_empty_journal_is_one_gap_and_what_comes_later_is_shown(journal: Journal) -> None:
    journal.has()
    assert [journal.read() for _ in range(3)] == [([], True), ([], False), ([], False)]
    journal.has(entry(9))
    assert journal.read() == (["line 9"], False)
    journal.has(entry(12))
    assert journal.read() == (["line 12"], True), "the next vacuum is another gap"


def test_entries_that_were_copied_into_another_journal_are_the_same(journal: Journal) -> None:
    """journald --flush copies from /run to /var: another sequence, the same times and contents."""
    journal.has(*(entry(number, "b") for number in (1, 2, 3)))
    assert journal.read() == (["line 3"], False)


def test_a_place_that_journald_does_not_find_is_found_by_its_time(journal: Journal) -> None:
    journal.has(entry(1), entry(2), entry(3), fails="--cursor")
    assert journal.read() == (["line 3"], False)
    journal.has(entry(7), fails="--cursor")
    assert journal.read() == (["line 7"], True)


def test_a_journal_that_cannot_be_read_at_all_is_the_error(journal: Journal) -> None:
    journal.has(fails="--no-pager")
    with pytest.raises(OpError, match="Failed to seek to cursor"):
        journal.read()


def test_an_entry_that_was_cut_off_is_read_again(journal: Journal) -> None:
    whole = json.dumps(entry(3))
    journal.has(entry(1), entry(2), tail=whole[: len(whole) // 2])
    assert journal.read() == ([], False)
    journal.has(entry(1), entry(2), entry(3))
    assert journal.read() == (["line 3"], False)


def test_a_journal_that_is_rotated_while_it_is_opened_is_opened_again(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """journalctl may miss a file that is renamed while it lists them: its lines would be skipped without a word."""
    files = tmp_path / "var"
    files.mkdir()
    monkeypatch.setattr(logs, "_JOURNAL_FILES", (f"{files}/*.journal",))
    journal.has(entry(1), entry(2), entry(9), rotates=str(files))
    assert journal.read() == ([], False), "rotated at each try: nothing is skipped, and nothing said to be missing"
    assert len(list(files.iterdir())) == logs._ROTATION_TRIES
    journal.has(entry(1), entry(2), entry(3), entry(9))
    assert journal.read() == (["line 3", "line 9"], False)


def test_pages_go_on_however_long_the_last_entry_was(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PAGE_BYTES", 300)
    journal.has(entry(1), entry(2), *(entry(number, text=f"{number}" * 400) for number in (3, 4, 5)))
    pages = [journal.page() for _ in range(4)]
    assert [len(page["lines"]) for page in pages] == [1, 1, 1, 0]
    assert [page["more"] for page in pages] == [True, True, True, False]
