"""The `deploy` command: parse, call one function, render. No logic lives here."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    import io
    import sys

    from deployer.cli.app import app
    from deployer.cli.interrupts import leave
    from deployer.cli.run import usage_errors_as_json, was_stopped_at_once
    from deployer.cli.streams import open_closed_streams

    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding gets a question mark for an arrow, and no run breaks off for it.
        sys.stdout.reconfigure(errors="replace")
    try:
        with usage_errors_as_json(sys.argv):
            app()
    except SystemExit as end:
        if was_stopped_at_once():
            leave(int(end.code or 0))
        raise
