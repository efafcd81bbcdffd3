"""Commands that carry a person's own commands: exec, run, shell."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from deployer.cli.options import Common, with_common
from deployer.cli.project import EnvNeeded, load
from deployer.cli.run import carry_out
from deployer.cli.values import seconds


class _ThenWords(TyperCommand):
    """ENV, and then the words of another command, after `--` where short options are among them: whose a `-c` is is not
    guessed. A whole line for sh as one word is no such case, nor is a long option, which is deploy's."""

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
        metavar="-- COMMAND…", help="One word is text for sh; of several lines, the first that fails ends it."
    ),
]
Stdin = Annotated[bool, typer.Option("--stdin", help="Hand this command's standard input on.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Kill it after this long.")]


def execute(env: EnvNeeded, words: Words, stdin: Stdin = False, timeout: Timeout = "1h", *, common: Common) -> None:
    """Run a command on the hosts, as the SSH user; it ends with the command's own status.

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
    everywhere: Annotated[bool, typer.Option("--all", help="On every host, not only the first.")] = False,
    stdin: Stdin = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The command's own output, byte for byte; deploy's goes to stderr.")
    ] = False,
    timeout: Timeout = "1h",
    *,
    common: Common,
) -> None:
    """Run a command in the current release: its virtualenv, environment, secrets, user; with your terminal.

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
    host: Annotated[str | None, typer.Argument(metavar="HOST", help="The first with instances by default.")] = None,
    *,
    common: Common,
) -> None:
    """An interactive shell on a host, as the SSH user.

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
    """Adds these commands to the application."""
    app.command("exec", cls=_ThenWords)(with_common(execute))
    app.command(cls=_ThenWords)(with_common(run))
    app.command()(with_common(shell))
