"""Ctrl-C, SIGTERM and Ctrl-D at a question end the command at once: nothing is in hand while a person is asked."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from support.terminal import CTRL_C, Terminal

CTRL_D = "\x04"
PROGRAM = """
import select
import signal
import sys
import types
import typer
import deployer.cli.question
from deployer.cli.options import Common
from deployer.cli.run import carry_out
import deployer.cli.app

def work(invocation):
    common = Common(output="rich", ask_become_pass=True)
    common.confirm("go on?") if sys.argv[1] == "confirm" else common.sudo_password()
    print("ANSWERED", flush=True)

def wait(*files):
    signal.raise_signal(signal.SIGINT)
    return select.select(*files)

if "signal-first" in sys.argv:
    deployer.cli.question.select = types.SimpleNamespace(select=wait)

def app():
    try:
        carry_out("remove", Common(output="rich"), work)
    except typer.Exit as end:
        sys.exit(end.exit_code)

deployer.cli.app.app = app
deployer.cli.main()
"""


def asks(folder: Path, question: str, *words: str) -> Terminal:
    return Terminal([sys.executable, "-c", PROGRAM, question, *words], folder, env={"TERM": "xterm"})


@pytest.mark.parametrize("question, shown", [("confirm", "[y/N]"), ("password", "password:")])
@pytest.mark.parametrize("key", [CTRL_C, signal.SIGTERM])
def test_an_interrupt_at_a_question_ends_the_command(
    tmp_path: Path, question: str, shown: str, key: str | signal.Signals
) -> None:
    with asks(tmp_path, question) as terminal:
        terminal.until(shown)
        terminal.types(key) if isinstance(key, str) else terminal.process.send_signal(key)
        assert terminal.end(30) == 130, terminal.text
        assert "stopped at the question; nothing was changed" in terminal.text
        assert "winding up" not in terminal.text and "ANSWERED" not in terminal.text


@pytest.mark.parametrize("question, shown", [("confirm", "[y/N]"), ("password", "password:")])
def test_the_end_of_the_input_is_a_no(tmp_path: Path, question: str, shown: str) -> None:
    with asks(tmp_path, question) as terminal:
        terminal.until(shown)
        terminal.types(CTRL_D)
        assert terminal.end(30) == 2, terminal.text
        assert "Traceback" not in terminal.text and "ANSWERED" not in terminal.text


@pytest.mark.parametrize("question", ["confirm", "password"])
def test_a_signal_just_before_the_wait_for_keys_is_not_lost(tmp_path: Path, question: str) -> None:
    with asks(tmp_path, question, "signal-first") as terminal:
        assert terminal.end(30) == 130, terminal.text


def test_a_question_can_be_answered(tmp_path: Path) -> None:
    with asks(tmp_path, "confirm") as terminal:
        terminal.until("[y/N]")
        terminal.types("perhaps\n")
        terminal.until("please type y or n")
        terminal.types("y\n")
        assert terminal.end(30) == 0 and "ANSWERED" in terminal.text


def test_a_password_is_never_shown_and_no_key_is_lost(tmp_path: Path) -> None:
    """Switching the echo off discards what was typed before, so it comes before the prompt."""
    with asks(tmp_path, "password") as terminal:
        terminal.until("password:")
        assert not terminal.echoes
        terminal.types("secret word\n")
        assert terminal.end(30) == 0 and "ANSWERED" in terminal.text
        assert "secret word" not in terminal.text


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    with asks(tmp_path, "password") as terminal:
        terminal.until("password:")
        terminal.types("\n")
        assert terminal.end(30) == 2, terminal.text
        assert "no sudo password was given" in terminal.text


def test_the_end_of_the_input_ends_the_line_of_the_prompt_once(tmp_path: Path) -> None:
    with asks(tmp_path, "password") as terminal:
        terminal.until("password:")
        terminal.types("\x04")
        assert terminal.end(30) == 2, terminal.text
        assert "password: \r\n\r\n" not in terminal.text, repr(terminal.text)
