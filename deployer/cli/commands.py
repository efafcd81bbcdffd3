"""Commands that run a person's own command on hosts: exec, run, shell."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.core import TyperOption

from deployer.cli.help import HelpCommand, add_command
from deployer.cli.options import Common
from deployer.cli.project import EnvNeeded, load
from deployer.cli.run import carry_out
from deployer.cli.values import seconds


class _CommandLine(HelpCommand):
    """ENV, then the words of another command, after `--` where they contain short options.

    Without `--` a `-c` could be an option of deploy or of the other command, so that is an error. One word that holds
    a whole line for sh is not ambiguous. Neither is a long option: it belongs to deploy.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        valued = {
            name
            for parameter in self.params
            if isinstance(parameter, TyperOption) and not parameter.is_flag
            for name in parameter.opts
        }
        positions: list[int] = []
        position = 0
        while position < len(args) and args[position] != "--":
            if not args[position].startswith("-"):
                positions.append(position)
            position += 2 if args[position] in valued else 1
        if len(positions) > 1:
            first, more = args[positions[1]], args[positions[1] + 1 :]
            option = next((word for word in more if word[:1] == "-" != word[1:2]), None)
            if option and len(first.split()) == 1:
                raise typer.BadParameter(
                    f"is {option} an option of {first} or of deploy? Write deploy's own before --, and the command "
                    f"after it: {ctx.command_path} {args[positions[0]]} -- {first} …",
                    param_hint="COMMAND",
                )
        return super().parse_args(ctx, args)


Words = Annotated[
    list[str],
    typer.Argument(
        metavar="-- COMMAND…", help="The command. One word is a script for sh, which stops at the first failing line."
    ),
]
Stdin = Annotated[bool, typer.Option("--stdin", help="Pass standard input on to the command.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Kill the command after this long.")]


def execute(env: EnvNeeded, words: Words, stdin: Stdin = False, timeout: Timeout = "1h", *, common: Common) -> None:
    """Run a command on the hosts, as the SSH user.

    The exit status is that of the command.

    Example: deploy exec prod -l 'web*' -- df -h /
    """
    from deployer.rollout.queries.exec import execute as start

    carry_out(
        "exec",
        common,
        lambda invocation: start(
            load(env, replace(common, limit=None)),
            invocation,
            words=words,
            limit=common.limit,
            stdin=stdin,
            timeout=seconds(timeout, "--timeout"),
        ),
        backpressure=True,
    )


def run(
    env: EnvNeeded,
    words: Words,
    everywhere: Annotated[bool, typer.Option("--all", help="Run on every host, not only on the first.")] = False,
    stdin: Stdin = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Pass the command's output on byte for byte; deploy writes to stderr.")
    ] = False,
    timeout: Timeout = "1h",
    *,
    common: Common,
) -> None:
    """Run a command in the current release, with your terminal.

    It has the release's virtualenv, environment, secrets and user.

    Example: deploy run prod -- python manage.py shell

    Example: deploy run prod --raw -- pg_dump -Fc shop > shop.dump
    """
    from deployer.rollout.queries.exec import run as start

    carry_out(
        "run",
        common,
        lambda invocation: start(
            load(env, common),
            invocation,
            words=words,
            everywhere=everywhere,
            stdin=stdin,
            raw=raw,
            json_lines=common.output == "json",
            timeout=seconds(timeout, "--timeout"),
        ),
        events_to=sys.stderr if raw else None,
        backpressure=True,
    )


def shell(
    env: EnvNeeded,
    host: Annotated[
        str | None, typer.Argument(metavar="HOST", help="A host; by default the first with instances.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Open an interactive shell on a host, as the SSH user.

    Example: deploy shell prod web2
    """
    from deployer.rollout.queries.exec import shell as start

    json_lines = common.output == "json"
    carry_out(
        "shell",
        common,
        lambda invocation: start(load(env, common), invocation.record, host=host, json_lines=json_lines),
    )


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    add_command(app, execute, panel="Operate", name="exec", cls=_CommandLine)
    add_command(app, run, panel="Operate", cls=_CommandLine)
    add_command(app, shell, panel="Operate")
