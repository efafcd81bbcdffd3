"""The options that every command has, declared once and added to each command's own."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deployer.cli.question import ask_hidden, ask_yes_or_no
from deployer.errors import UsageError

Output = Literal["rich", "plain", "json"]


@dataclass
class Environment:
    """The environment that a command is about. `name` is None until it is known."""

    name: str | None = None


@dataclass(frozen=True)
class Common:
    """The shared options of a command line. `environment` is filled when the project is loaded."""

    inventory: Path | None = None
    config: Path | None = None
    output: Output = "plain"
    limit: str | None = None
    user: str | None = None
    ask_become_pass: bool = False
    yes: bool = False
    environment: Environment = field(default_factory=Environment)

    def confirm(self, question: str) -> None:
        """Ask on the terminal; UsageError when there is none and `--yes` was not given, or the answer is no.

        Raises InterruptedRun for Ctrl-C or SIGTERM at the question. The end of the input (Ctrl-D) is a no.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question} needs an answer, but no terminal is attached", hint="add --yes")
        if not ask_yes_or_no(question):
            raise UsageError("stopped: the answer was no")

    def sudo_password(self) -> str | None:
        """Return the sudo password asked for on the terminal (`-K`) or from `DEPLOY_SUDO_PASSWORD`."""
        if self.ask_become_pass:
            if not sys.stdin.isatty():
                raise UsageError("-K asks for a password, but no terminal is attached", hint="set DEPLOY_SUDO_PASSWORD")
            password = ask_hidden("sudo password")
            if not password:
                raise UsageError("no sudo password was given", hint="set DEPLOY_SUDO_PASSWORD")
            return password
        return os.environ.get("DEPLOY_SUDO_PASSWORD")


def _default_output() -> Output:
    return "rich" if sys.stdout.isatty() else "plain"


SHARED_PANEL = "Shared options"


def _shared(*names: str, metavar: str | None = None, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=SHARED_PANEL)


_PARAMETERS: dict[str, tuple[Any, Any]] = {
    "inventory": (
        Path | None,
        _shared("-i", "--inventory", metavar="PATH", help="Read this inventory in place of the environment's own."),
    ),
    "config": (Path | None, _shared("-c", "--config", metavar="FILE", help="Read this deploy.yaml.")),
    "output": (
        str | None,
        _shared("--output", metavar="rich|plain|json", help="Output format; rich on a terminal, plain otherwise."),
    ),
    "limit": (
        str | None,
        _shared("-l", "--limit", metavar="PATTERN", help="Only these hosts, in Ansible's pattern grammar."),
    ),
    "user": (str | None, _shared("-u", "--user", metavar="USER", help="Log in to hosts as this SSH user.")),
    "ask_become_pass": (bool, _shared("-K", "--ask-become-pass", help="Ask for the sudo password.")),
    "yes": (bool, _shared("--yes", help="Answer yes to every question.")),
}

ON_HOSTS = frozenset(_PARAMETERS)
"""The shared options of a command that connects to hosts: all of them."""

_ONLY_ON_HOSTS = frozenset({"limit"})
"""Options that a command without hosts refuses. Scripts may give the others to every command."""


def with_common(function: Callable[..., Any], shared: frozenset[str] = ON_HOSTS) -> Callable[..., Any]:
    """Add the shared options to a command whose last parameter is `common`, which it receives as one object.

    Args:
        function: the command.
        shared: the options that have an effect on this command; its help shows only these.

    Returns:
        The command as Typer reads it.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "common"]
    taken = [name for name in _PARAMETERS if name in shared or name not in _ONLY_ON_HOSTS]
    added = [_parameter(name, shown=name in shared) for name in taken]

    @functools.wraps(function)
    def call(**values: Any) -> Any:
        given = {name: values.pop(name) for name in taken}
        given["output"] = _checked_output(given["output"])
        return function(**values, common=Common(**given))

    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    call.__signature__ = signature.replace(parameters=[*keyword, *added])  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keyword, *added]}
    return call


def _parameter(name: str, *, shown: bool) -> inspect.Parameter:
    kind, option = _PARAMETERS[name]
    described = copy.copy(option)
    described.hidden = not shown
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if kind is bool else None,
        annotation=Annotated[kind, described],
    )


def _checked_output(value: str | None) -> Output:
    if value is None:
        return _default_output()
    if value not in ("rich", "plain", "json"):
        raise typer.BadParameter(f"{value!r} is not one of rich, plain, json", param_hint="--output")
    return value  # type: ignore[return-value]
