"""Commands that change how much of an app there is: remove."""

from __future__ import annotations

import typer

from deployer.cli.options import Common, with_common
from deployer.cli.project import EnvNeeded, load
from deployer.cli.run import carry_out
from deployer.cli.values import Wait, seconds


def remove(env: EnvNeeded, wait: Wait = "0", *, common: Common) -> None:
    """Take the app off hosts (-l), or off all: drained, stopped, removed. What it shares with its releases stays.

    Example: deploy remove prod -l web3
    """
    from deployer.rollout.remove import remove as run

    waiting = seconds(wait)
    carry_out(
        "remove",
        common,
        lambda bus, record, stop: run(load(env, common), bus, record, confirm=common.confirm, wait=waiting, stop=stop),
    )


def register(app: typer.Typer) -> None:
    """Adds these commands to the application."""
    for function in (remove,):
        app.command()(with_common(function))
