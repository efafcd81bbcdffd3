"""`--help` of every command: it is there, with an example that the command itself accepts, and it is quick."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from deployer import __version__
from deployer.cli.app import app
from deployer.cli.help import PANELS

HEAVY = ("fabric", "invoke", "paramiko", "pydantic", "testinfra", "pytest", "jinja2", "ruamel")
EVERYWHERE = {"inventory", "config", "output", "user", "ask_become_pass", "yes"}
COMMON = EVERYWHERE | {"limit"}
# Commands that involve no hosts, or only their entries in the inventory, and the shared options that they use.
WITHOUT_HOSTS = {
    ("init",): {"output"},
    ("dev",): {"config", "output"},
    ("schema",): {"output"},
    ("hosts",): COMMON - {"ask_become_pass", "yes"},
    ("render",): COMMON - {"ask_become_pass", "yes"},
    ("lab", "up"): {"output"},
    ("lab", "down"): {"output"},
    ("lab", "status"): {"output"},
    ("demo",): {"output"},
}


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ROOT: Any = typer.main.get_command(app)
COMMANDS = dict(commands(ROOT))
EVERY = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


@cache
def help_of(path: tuple[str, ...], columns: int = 80) -> str:
    """What `--help` shows on a terminal of that width."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": str(columns)})
    assert shown.exit_code == 0
    return shown.stdout


@EVERY
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    assert f"Example: deploy {' '.join(path)}" in help_of(path)


@EVERY
def test_the_example_is_something_that_the_command_takes(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    example = (command.help or "").partition("Example: deploy ")[2].splitlines()[0].partition(" > ")[0]
    words = shlex.split(example)[len(path) :]
    command.make_context(path[-1], words)


@EVERY
def test_a_command_shows_the_shared_options_that_it_uses(path: tuple[str, ...]) -> None:
    parameters = {parameter.name: parameter for parameter in COMMANDS[path].params}
    shown = {name for name in COMMON & parameters.keys() if not parameters[name].hidden}
    assert shown == WITHOUT_HOSTS.get(path, COMMON)
    assert ("Shared options:" in help_of(path)) == bool(shown)
    assert ("--ask-become-pass" in help_of(path)) == ("ask_become_pass" in shown)


@EVERY
def test_scripts_may_give_every_command_the_same_options(path: tuple[str, ...]) -> None:
    """Only `--limit` is refused where no hosts are involved: it would be ignored."""
    names = {parameter.name for parameter in COMMANDS[path].params}
    assert names >= EVERYWHERE
    assert ("limit" in names) == ("limit" in WITHOUT_HOSTS.get(path, COMMON))


def test_limit_is_refused_without_hosts() -> None:
    refused = CliRunner().invoke(app, ["init", "-l", "web1"])
    assert refused.exit_code == 2 and "-l" in refused.output


@EVERY
def test_every_option_and_argument_says_what_it_is_for(path: tuple[str, ...]) -> None:
    own = [parameter for parameter in COMMANDS[path].params if parameter.name != "help"]
    options = [parameter for parameter in own if parameter.param_type_name == "option"]
    assert not [parameter.name for parameter in options if not parameter.help]
    valued = [parameter for parameter in own if not getattr(parameter, "is_flag", False)]
    assert not [parameter.name for parameter in valued if not parameter.metavar], "a value without a word for it"


_TYPE = re.compile(r"<[^ ]*>|list\[|\b(str|int|float|bool|Path|None|TEXT\.\.\.|INTEGER|FLOAT)\b")


@EVERY
def test_values_are_words_and_not_python_types(path: tuple[str, ...]) -> None:
    assert not _TYPE.search(help_of(path)), _TYPE.findall(help_of(path))


def test_every_command_is_in_one_panel() -> None:
    assert {command.rich_help_panel for command in ROOT.commands.values()} == set(PANELS)
    assert re.findall(r"^(\w[\w ]*):$", help_of(()), re.M) == [*PANELS, "Options"]


@pytest.mark.parametrize("path", [(), ("lab",)], ids=["deploy", "lab"])
def test_a_list_of_commands_has_a_line_each_and_cuts_nothing_off(path: tuple[str, ...]) -> None:
    group = ROOT.commands[path[0]] if path else ROOT
    for name, command in group.commands.items():
        summary = (command.help or "").replace("\n", " ").partition(". ")[0].rstrip(".")
        assert re.search(rf"^  {name} +{re.escape(summary)}\.$", help_of(path), re.M), (name, summary)
    assert "..." not in help_of(path).replace("[ARGS]...", "")


@EVERY
@pytest.mark.parametrize("columns", [80, 140])
def test_help_fits_the_terminal(path: tuple[str, ...], columns: int) -> None:
    lines = help_of(path, columns).splitlines()
    assert max(map(len, lines)) <= columns
    examples = [line for line in lines if line.startswith("  Example: ")]
    assert len(examples) == (COMMANDS[path].help or "").count("Example: "), "an example is broken in two"


@pytest.mark.parametrize("columns", [80, 140])
def test_help_uses_the_width_of_the_terminal(columns: int) -> None:
    """In a terminal of that size: the longest line could not be longer by another word."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    program = [sys.executable, "-m", "deployer", "push", "--help"]
    process = subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # Linux: the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0
    longest = max(map(len, shown.decode().splitlines()))
    assert columns - 40 < longest <= columns


def test_without_a_command_the_help_is_shown() -> None:
    shown = CliRunner().invoke(app, [])
    assert "Usage: deploy" in shown.output and "push" in shown.output


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"deploy {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["push", "--help"]], ids=" ".join)
def test_help_loads_nothing_that_only_a_run_needs(words: list[str]) -> None:
    # Typer itself has come to load pydantic, for the parameters of a command.
    heavy = set(HEAVY) - ({"pydantic"} if len(words) > 1 else set())
    program = (
        "import sys, deployer.cli\n"
        f"sys.argv = ['deploy', *{words!r}]\n"
        "try:\n"
        "    deployer.cli.main()\n"
        "finally:\n"
        f"    print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "Usage: deploy" in done.stdout, done.stderr
    assert done.stderr == "[]\n"


def test_what_may_be_left_out_is_shown_in_one_pair_of_brackets() -> None:
    shown = CliRunner().invoke(app, ["rollback", "--help"]).stdout
    assert " [RELEASE]\n" in shown and "[ENV]" not in shown
    assert " [ENV]\n" in CliRunner().invoke(app, ["push", "--help"]).stdout
