"""`--help` of every command: it is there, with an example that the command itself accepts, and it is quick."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from deployer import __version__
from deployer.cli.app import app

HEAVY = ("fabric", "invoke", "paramiko", "pydantic", "testinfra", "pytest", "jinja2", "ruamel")
COMMON = {"inventory", "config", "output", "limit", "user", "ask_become_pass", "yes"}


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
EVERY = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


@EVERY
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert f"Example: deploy {' '.join(path)}" in shown.stdout


@EVERY
def test_the_example_is_something_that_the_command_takes(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    example = (command.help or "").partition("Example: deploy ")[2].splitlines()[0].partition(" > ")[0]
    words = shlex.split(example)[len(path) :]
    command.make_context(path[-1], words)


@EVERY
def test_every_command_has_the_common_options_and_says_what_each_is_for(path: tuple[str, ...]) -> None:
    parameters = {parameter.name: parameter for parameter in COMMANDS[path].params}
    assert path == ("schema",) or parameters.keys() >= COMMON
    assert not [
        name
        for name, each in parameters.items()
        if each.param_type_name == "option" and name != "help" and not each.help
    ]


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
