"""The `deploy` command: parse, call one function, render. No logic lives here."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    from deployer.cli.app import app

    app()
