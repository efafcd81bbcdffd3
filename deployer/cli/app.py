"""The Typer application and the order of its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer import __version__
from deployer.cli import by_hand, changing, commands, looking, size, starting, throwaway

app = typer.Typer(
    name="deploy",
    help="Put a Python web app on your own servers and change it there, without one user noticing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for module in (starting, changing, size, by_hand, looking, commands, throwaway):
    module.register(app)
