"""The options that every command has, declared once and added to each command's own."""

from __future__ import annotations

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
    """What the user said for every command alike. `environment` is filled when the project is loaded."""

    inventory: Path | None = None
    config: Path | None = None
    output: Output = "plain"
    limit: str | None = None
    user: str | None = None
    ask_become_pass: bool = False
    yes: bool = False
    environment: Environment = field(default_factory=Environment)

    def confirm(self, question: str) -> None:
        """Asks on the terminal; UsageError when there is none and `--yes` was not given, or the answer is no.

        Raises InterruptedRun for Ctrl-C or SIGTERM at the question. The end of the input (Ctrl-D) is a no.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question} needs an answer and there is no terminal", hint="add --yes")
        if not ask_yes_or_no(question):
            raise UsageError("stopped, as you said no")

    def sudo_password(self) -> str | None:
        """The sudo password asked for on the terminal (`-K`) or from `DEPLOY_SUDO_PASSWORD`."""
        if self.ask_become_pass:
            if not sys.stdin.isatty():
                raise UsageError("-K asks for a password and there is no terminal", hint="set DEPLOY_SUDO_PASSWORD")
            password = ask_hidden("sudo password")
            if not password:
                raise UsageError("no sudo password was given", hint="set DEPLOY_SUDO_PASSWORD")
            return password
        return os.environ.get("DEPLOY_SUDO_PASSWORD")


def _default_output() -> Output:
    return "rich" if sys.stdout.isatty() else "plain"


_PARAMETERS: dict[str, Any] = {
    "inventory": Annotated[
        Path | None, typer.Option("-i", "--inventory", help="Inventory file in place of the environment's own.")
    ],
    "config": Annotated[Path | None, typer.Option("-c", "--config", help="deploy.yaml to read.")],
    "output": Annotated[
        str | None, typer.Option("--output", metavar="rich|plain|json", help="How to show it; rich on a terminal.")
    ],
    "limit": Annotated[str | None, typer.Option("-l", "--limit", help="Only these hosts (Ansible's pattern grammar).")],
    "user": Annotated[str | None, typer.Option("-u", "--user", help="SSH user.")],
    "ask_become_pass": Annotated[bool, typer.Option("-K", "--ask-become-pass", help="Ask for the sudo password.")],
    "yes": Annotated[bool, typer.Option("--yes", help="Answer yes to every question.")],
}


def with_common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the common options to a command whose last parameter is `common`, which it receives as one object."""
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "common"]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if annotation.__origin__ is bool else None,
            annotation=annotation,
        )
        for name, annotation in _PARAMETERS.items()
    ]

    @functools.wraps(function)
    def call(**values: Any) -> Any:
        given = {name: values.pop(name) for name in _PARAMETERS}
        given["output"] = _checked_output(given["output"])
        return function(**values, common=Common(**given))

    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    call.__signature__ = signature.replace(parameters=[*keyword, *added])  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keyword, *added]}
    return call


def _checked_output(value: str | None) -> Output:
    if value is None:
        return _default_output()
    if value not in ("rich", "plain", "json"):
        raise typer.BadParameter(f"{value!r} is not one of rich, plain, json", param_hint="--output")
    return value  # type: ignore[return-value]
