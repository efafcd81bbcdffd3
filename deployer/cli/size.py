"""Commands that change how much of an app there is: scale, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.options import Common, with_common
from deployer.cli.project import EnvNeeded, load
from deployer.cli.run import carry_out
from deployer.cli.values import Wait, seconds


def scale(
    env: EnvNeeded,
    instances: Annotated[int | None, typer.Option("--instances", min=1, help="Instances on each host.")] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", metavar="N", help="Workers of each instance; also auto, io, cpu.")
    ] = None,
    wait: Wait = "0",
    *,
    common: Common,
) -> None:
    """Change how many instances and workers there are, in the settings and on the hosts, wave by wave.

    Example: deploy scale prod --instances 2 --workers 4
    """
    from deployer.rollout.commands.scale import scale as run

    given = {"instances": instances, "workers": int(workers) if workers and workers.isdigit() else workers}
    carry_out(
        "scale",
        common,
        lambda invocation: run(
            lambda: load(env, common),
            invocation,
            sizes={name: value for name, value in given.items() if value is not None},
            confirm=common.confirm,
        ),
        wait=seconds(wait),
    )


def remove(env: EnvNeeded, wait: Wait = "0", *, common: Common) -> None:
    """Take the app off hosts (-l), or off all: drained, stopped, removed. What it shares with its releases stays.

    Example: deploy remove prod -l web3
    """
    from deployer.rollout.commands.remove import remove as run

    carry_out(
        "remove",
        common,
        lambda invocation: run(load(env, common), invocation, confirm=common.confirm),
        wait=seconds(wait),
    )


def register(app: typer.Typer) -> None:
    """Adds these commands to the application."""
    for function in (scale, remove):
        app.command()(with_common(function))
