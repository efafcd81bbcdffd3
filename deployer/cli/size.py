"""Commands that change how much of an app there is: scale, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.help import add_command
from deployer.cli.options import Common
from deployer.cli.project import EnvNeeded, load
from deployer.cli.run import carry_out
from deployer.cli.values import Wait, seconds


def scale(
    env: EnvNeeded,
    instances: Annotated[
        int | None, typer.Option("--instances", metavar="N", min=1, help="Instances per host.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", metavar="N", help="Workers per instance; also auto, io, cpu.")
    ] = None,
    wait: Wait = "0",
    *,
    common: Common,
) -> None:
    """Change the number of instances and workers, wave by wave.

    Changes deploy.yaml and the hosts.

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
    """Remove the app from hosts (-l), or from all, gently.

    Each instance is drained, stopped and removed. The folder `shared/` stays.

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
    """Add these commands to the application."""
    add_command(app, scale, panel="Ship")
    add_command(app, remove, panel="Operate")
