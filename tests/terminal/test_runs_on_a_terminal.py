"""What people type and see: pushes, checks and questions on a real terminal, whatever its size and kind."""

from __future__ import annotations

import re
import time

import pytest
from support.project import Project
from support.terminal import CTRL_C, CTRL_Q, CTRL_S, Terminal

DEPLOY = 3  # python -m deployer


def words(shop: Project, *args: str) -> list[str]:
    """The words of a command as a person types it, with what its output is by default."""
    command = shop.command(*args)
    at = command.index("--output")
    return [*command[:at], *command[at + 2 :]]


def typed(shop: Project, *args: str, columns: int = 80, rows: int = 24, env: dict[str, str] | None = None) -> Terminal:
    """A command on a terminal."""
    return Terminal(words(shop, *args), shop.folder, columns=columns, rows=rows, env=env)


def steps(terminal: Terminal) -> list[str]:
    """The steps whose end the screen shows."""
    return re.findall(r"^✓ \S+ +(\w+) ", terminal.text, re.MULTILINE)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (140, 40)])
def test_a_push_is_shown_and_ends(shop: Project, libraries: dict[str, str], columns: int, rows: int) -> None:
    shop.version(f"{columns} {len(libraries)}")
    with typed(shop, "push", columns=columns, rows=rows, env=libraries) as terminal:
        assert terminal.end() == 0, terminal.text
        assert "succeeded: " in terminal.text
        assert {"drain", "switch", "checks", "admit"} <= set(steps(terminal)), terminal.text
        assert "\x1b[1" in terminal.screen and "\x1b[?25l" in terminal.screen, "in colour, with a live line"
        assert terminal.cursor_shown
        assert max(map(len, terminal.lines)) <= columns
        assert not [line for line in terminal.lines if line.startswith(("⠋", "⠙", "⠹"))], "the live line has gone"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_without_colour_or_on_a_dumb_terminal(shop: Project, libraries: dict[str, str], env: dict[str, str]) -> None:
    with typed(shop, "verify", env={**libraries, **env}) as terminal:
        assert terminal.end() == 0, terminal.text
        assert "passed" in terminal.text
        colours = re.findall(r"\x1b\[(?:[0-9;]*;)?3[0-7]m", terminal.screen)
        assert colours == []
        if "TERM" in env:
            assert "\x1b" not in terminal.screen


def test_verify_is_shown_and_ends(shop: Project, libraries: dict[str, str]) -> None:
    with typed(shop, "verify", env=libraries) as terminal:
        assert terminal.end() == 0, terminal.text
        assert terminal.cursor_shown


def test_setup_is_shown_and_ends(shop: Project, libraries: dict[str, str]) -> None:
    with typed(shop, "setup", env=libraries) as terminal:
        assert terminal.end() == 0, terminal.text
        assert "unchanged" in terminal.text or "succeeded" in terminal.text


def test_a_push_that_fails_says_why_below_what_it_showed(shop: Project, libraries: dict[str, str]) -> None:
    shop.breaks("health")
    try:
        with typed(shop, "push", env=libraries) as terminal:
            assert terminal.end() == 5, terminal.text
            error, last = terminal.text.index("\nerror: "), terminal.text.index("\nrolled back: ")
            assert terminal.text.index("✗ web1:0") < error < last
            assert "next:" in terminal.text[error:last]
            assert terminal.cursor_shown
    finally:
        shop.mends()


def test_a_window_may_change_its_size_in_the_middle(shop: Project) -> None:
    shop.version("another size")
    with typed(shop, "push") as terminal:
        terminal.until("wave 1 of 2")
        terminal.resize(48, 12)
        terminal.until("switch")
        terminal.resize(140, 40)
        assert terminal.end() == 0, terminal.text
        assert terminal.text.count("succeeded: ") == 1


def test_a_stopped_screen_does_not_stop_the_run(shop: Project) -> None:
    """The users' instances are where they should be long before anybody presses Ctrl-Q."""
    shop.version("Ctrl-S")
    release = ""
    with typed(shop, "push") as terminal:
        terminal.until("wave 1 of 2")
        terminal.types(CTRL_S)
        deadline = time.monotonic() + 120
        before = shop.deploy("status").release
        while release in ("", before) and time.monotonic() < deadline:
            locked = "locked by" in shop.show("status", expect=None)
            release = before if locked else shop.deploy("status", expect=None).release or ""
        assert terminal.silent_for(0.5)
        assert terminal.process.poll() is None, "what was not shown waits for the terminal"
        terminal.types(CTRL_Q)
        assert terminal.end() == 0, terminal.text
        assert f"succeeded: {release}" in terminal.text


def test_a_terminal_that_goes_away_winds_the_run_up(shop: Project) -> None:
    before = shop.deploy("status").release
    shop.version("hung up")
    with typed(shop, "push") as terminal:
        terminal.until("wave 1 of 2")
        terminal.hang_up()
        assert terminal.process.wait(120) == 130
    assert shop.deploy("status").release == before
    after = shop.show("status")
    assert "web1:0" in after and "locked by" not in after and "DRAIN" not in after, after


def test_logs_are_followed_until_ctrl_c(shop: Project) -> None:
    with typed(shop, "logs", "-f", "--all") as terminal:
        terminal.until("/healthz")
        terminal.types(CTRL_C)
        assert terminal.end(30) in (0, 130), terminal.text
        assert terminal.cursor_shown


def test_a_shell_has_the_terminal(shop: Project) -> None:
    with typed(shop, "shell", "web2") as terminal:
        terminal.types("stty size; echo $((6 * 7))\n")
        terminal.until("24 80")
        terminal.until("42")
        terminal.types("exit 3\n")
        assert terminal.end(30) == 3, terminal.text


def test_a_question_is_answered_on_the_terminal(shop: Project) -> None:
    with typed(shop, "trust") as terminal:
        terminal.until("[y/N]")
        question = terminal.text
        assert question.index("SHA256:") < question.index("Do these fingerprints match"), "first what it is about"
        terminal.types("n\n")
        assert terminal.end(30) == 2, terminal.text
        assert "stopped: the answer was no" in terminal.text


def test_with_yes_nothing_is_asked(shop: Project) -> None:
    with typed(shop, "trust", "--yes") as terminal:
        assert terminal.end(60) == 0, terminal.text
        assert "[y/N]" not in terminal.text
