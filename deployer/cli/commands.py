"""Commands that carry a person's own commands: exec, run, shell."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from deployer.cli.options import Common, with_common
from deployer.cli.project import EnvNeeded, load
from deployer.cli.run import carry_out
from deployer.cli.values import seconds

Words = Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="One word is a line for sh.")]
Stdin = Annotated[bool, typer.Option("--stdin", help="Hand this command's standard input on.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Kill it after this long.")]


def execute(env: EnvNeeded, words: Words, stdin: Stdin = False, timeout: Timeout = "1h", *, common: Common) -> None:
    """Run a command on the hosts, as the SSH user; it ends with the command's own status.

    Example: deploy exec prod -l 'web*' -- df -h /
    """
    from deployer.rollout.execute import execute as start

    carry_out(
        "exec",
        common,
        lambda bus, record, stop: start(
            load(env, replace(common, limit=None)),
            bus,
            record,
            words=words,
            limit=common.limit,
            stdin=stdin,
            timeout=seconds(timeout, "--timeout"),
            stop=stop,
        ),
    )


def run(
    env: EnvNeeded,
    words: Words,
    everywhere: Annotated[bool, typer.Option("--all", help="On every host, not only the first.")] = False,
    stdin: Stdin = False,
    timeout: Timeout = "1h",
    *,
    common: Common,
) -> None:
    """Run a command in the current release: its virtualenv, environment, secrets, user; with your terminal.

    Example: deploy run prod -- python manage.py shell
    """
    from deployer.rollout.execute import run as start

    carry_out(
        "run",
        common,
        lambda bus, record, stop: start(
            load(env, common),
            bus,
            record,
            words=words,
            everywhere=everywhere,
            stdin=stdin,
            timeout=seconds(timeout, "--timeout"),
            stop=stop,
        ),
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
    from deployer.rollout.execute import shell as start

    carry_out("shell", common, lambda bus, record, stop: start(load(env, common), record, host=host))


def register(app: typer.Typer) -> None:
    """Adds these commands to the application."""
    app.command("exec")(with_common(execute))
    for function in (run, shell):
        app.command()(with_common(function))
