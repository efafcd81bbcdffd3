"""The Typer application and the order of its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer import __version__
from deployer.cli import by_hand, changing, commands, looking, size, starting, throwaway
from deployer.cli.help import CONTEXT_SETTINGS, HelpGroup

app = typer.Typer(
    name="deploy",
    cls=HelpGroup,
    context_settings=CONTEXT_SETTINGS,
    help="Put a Python web app on your own servers and change it there, without one user noticing.\n\n"
    "`deploy COMMAND --help` shows a command's options and an example.\n\n"
    "Example: deploy push prod",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for module in (starting, changing, size, by_hand, looking, commands, throwaway):
    module.register(app)
