"""Logs read from a cursor: every line once, whatever supervisord's rotation does in between."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from supervisor.loggers import LevelsByName, LogRecord, RotatingFileHandler

from deployer.agent.instance import logs
from deployer.agent.model.layout import Site
from deployer.agent.model.messages.logs import LogSource
from deployer.agent.operation import Context, OpError


class Log:
    """One file as `logs.read` sees it, with the cursor of the last answer."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop-8000.log"
        self.site = Site("shop", "prod", str(folder / "srv"))
        self.cursor: Any = None
        self.gap = False

    def read(self, lines: int = 50, **more: Any) -> list[str]:
        """All pages after the cursor."""
        texts: list[str] = []
        while True:
            source: LogSource = {"file": str(self.path), "journal": "", "cursor": self.cursor}
            request: Any = {"site": self.site.to_wire(), "logs": {"8000": source}, "lines": lines, **more}
            page = logs.read(Context(), request)["logs"]["8000"]
            texts += [text for _, text in page["lines"]]
            self.cursor, self.gap = page["cursor"], self.gap or page["gap"]
            if not page["more"]:
                return texts

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_no_line_is_lost_or_doubled_while_supervisord_rotates(log: Log) -> None:
    """Its handler writes what the app printed in chunks, and rotates between two of them."""
    total, handler = 30_000, RotatingFileHandler(str(log.path), "ab", 100_000, 10)
    handler.setFormat("%(message)s")
    text = b"".join(b"line %d of the app\n" % number for number in range(total))
    assert log.read() == []

    def write() -> None:
        for at in range(0, len(text), 4096):
            handler.emit(LogRecord(LevelsByName.INFO, text[at : at + 4096]))

    writer = threading.Thread(target=write)
    writer.start()
    found = []
    while writer.is_alive():
        found += log.read()
    writer.join()
    found += log.read()
    assert log.path.with_name(log.path.name + ".1").exists(), "it was never rotated"
    assert found == [f"line {number} of the app" for number in range(total)]
    assert not log.gap


def test_equal_lines_are_all_news(log: Log) -> None:
    log.write("tick\n" * 5)
    assert log.read(5) == ["tick"] * 5
    assert log.read(5) == []
    log.write("tick\n" * 5)
    assert log.read(5) == ["tick"] * 5


@pytest.mark.parametrize(
    ("text", "count", "last"),
    [
        ("a\nb\nc\n", 2, ["b", "c"]),
        ("a\nb\nc\n", 9, ["a", "b", "c"]),
        ("a\n\n\nb\n", 3, ["", "", "b"]),
        ("a\nb\nand no end", 1, []),
        ("", 3, []),
        ("x" * 200_000 + "\nb\n", 2, ["x" * 200_000, "b"]),
    ],
    ids=["fewer", "all", "empty lines", "partial", "empty", "longer than a block"],
)
def test_the_last_lines(log: Log, text: str, count: int, last: list[str]) -> None:
    log.write(text)
    assert log.read(count) == last


def test_the_last_lines_go_back_into_what_was_rotated(log: Log) -> None:
    log.write("a\nb\nc\n")
    log.path.rename(log.path.with_name(log.path.name + ".1"))
    log.write("d\n")
    assert log.read(3) == ["b", "c", "d"]


def test_a_line_without_its_newline_is_shown_once_it_is_whole_or_on_demand(log: Log) -> None:
    log.write("a\nhalf")
    assert log.read() == ["a"]
    log.write(" a line\n")
    assert log.read() == ["half a line"]
    log.write("no end")
    assert log.read(partial=True) == ["no end"]


def test_a_log_that_appears_later_is_shown_from_its_beginning(log: Log) -> None:
    assert log.read() == []
    log.write("the first\n")
    assert log.read() == ["the first"] and not log.gap


@pytest.mark.parametrize("how", ["removed", "truncated"])
def test_a_log_that_lost_lines_says_so(log: Log, how: str) -> None:
    log.write("a\nb\n")
    log.read()
    log.write("never seen\n")
    if how == "removed":
        log.path.rename(log.path.with_name("elsewhere"))
        log.write("c\n")
    else:
        log.path.write_text("c\n")
    assert log.read() == ["c"] and log.gap


def test_more_than_an_answer_takes_comes_in_pages(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PAGE_BYTES", 100)
    log.write("".join(f"line {number}\n" for number in range(1000)) + "x" * 1000 + "\n")
    found = log.read(2000)
    assert found[:1000] == [f"line {number}" for number in range(1000)]
    assert "".join(found[1000:]) == "x" * 1000, "a line that is longer than a page comes in pieces"


def test_a_slot_that_is_not_in_use_begins_with_no_lines_but_is_followed(log: Log, tmp_path: Path) -> None:
    (tmp_path / "srv/slots").mkdir(parents=True)
    (tmp_path / "srv/slots/8000").symlink_to("../releases/r1")
    for port in (8000, 8500):
        (tmp_path / f"{port}.log").write_text("from before\n")
    cursors: dict[str, Any] = {}

    def read() -> dict[str, list[str]]:
        wanted = {
            str(port): {
                "file": str(tmp_path / f"{port}.log"),
                "port": port,
                "index": 0,
                "cursor": cursors.get(str(port)),
            }
            for port in (8000, 8500)
        }
        request: Any = {"site": log.site.to_wire(), "logs": wanted, "lines": 50}
        answer = logs.read(Context(), request)["logs"]
        cursors.update({name: page["cursor"] for name, page in answer.items()})
        return {name: [text for _, text in page["lines"]] for name, page in answer.items()}

    assert read() == {"8000": ["from before"], "8500": []}
    (tmp_path / "8500.log").write_text("from before\nthe successor starts\n")
    assert read() == {"8000": [], "8500": ["the successor starts"]}


def test_a_file_does_not_tell_times_so_it_cannot_be_read_since_one(log: Log) -> None:
    with pytest.raises(OpError, match="does not tell when a line was written") as refused:
        log.read(seconds=60)
    assert refused.value.code == "no_times" and "-n" in refused.value.hint


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        ("one\ntwo", ["one", "two"]),
        ([104, 105, 255], ["hi\ufffd"]),
        (["a", "b"], ["a", "b"]),
        (None, [""]),
    ],
    ids=["lines", "not UTF-8", "a repeated field", "nothing"],
)
def test_messages_of_the_journal(message: Any, texts: list[str]) -> None:
    assert logs._texts(message) == texts


def test_a_rotation_while_the_files_are_listed_loses_no_line(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing shows the new file, and not yet the other name of the one before."""
    log.write("a\n")
    assert log.read() == ["a"]
    log.write("b\n")
    log.path.rename(log.path.with_name(log.path.name + ".1"))
    log.write("c\n")
    list_folder, listings = os.scandir, []

    def without_the_renamed(folder: Any) -> Any:
        entries = list(list_folder(folder))
        listings.append(folder)
        return [entry for entry in entries if len(listings) > 1 or not entry.name.endswith(".1")]

    monkeypatch.setattr(os, "scandir", without_the_renamed)
    assert log.read() == ["b", "c"] and not log.gap


def test_a_log_that_appears_at_the_tick_of_the_last_look_is_shown(log: Log) -> None:
    assert log.read() == []
    log.write("the first\n")
    os.utime(log.path, (log.cursor["read"] - 0.01,) * 2)  # as the kernel's coarser clock has it
    assert log.read() == ["the first"] and not log.gap
