"""Fleets that are thrown away: lab and demo."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.help import HelpGroup, add_command
from deployer.cli.options import Common
from deployer.cli.run import carry_out, show_answer

lab_app = typer.Typer(
    cls=HelpGroup,
    help="Run a throw-away fleet of real hosts on this machine.\n\nExample: deploy lab up --hosts 3",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The lab's name, and an ENV while it is up.")]


def up(
    name: Name = "lab",
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="processes|machines", help="Processes on loopback, or systemd hosts (need root)."
        ),
    ] = "",
    hosts: Annotated[int, typer.Option("--hosts", metavar="N", help="Number of web hosts.")] = 3,
    supervisor: Annotated[
        str, typer.Option("--supervisor", metavar="systemd|supervisord", help="The supervisor of the app.")
    ] = "",
    balancer: Annotated[
        str, typer.Option("--balancer", metavar="haproxy|nginx|caddy|none", help="The balancer of the web hosts.")
    ] = "",
    suite: Annotated[
        str,
        typer.Option("--suite", metavar="bullseye|bookworm|trixie", help="The Debian release of the hosts; bookworm."),
    ] = "",
    *,
    common: Common,
) -> None:
    """Start a lab, or complete one that is up.

    Example: deploy lab up --kind machines --hosts 3 --suite trixie
    """
    from deployer.lab.operate import up as run

    carry_out(
        "lab up",
        common,
        lambda invocation: run(
            invocation, name=name, kind=kind, hosts=hosts, supervisor=supervisor, balancer=balancer, suite=suite
        ),
    )


def down(name: Name = "lab", *, common: Common) -> None:
    """Stop a lab and remove everything of it.

    Example: deploy lab down
    """
    from deployer.lab.operate import down as run

    carry_out("lab down", common, lambda invocation: run(invocation, name=name))


def status(name: Name = "lab", *, common: Common) -> None:
    """Show where the lab's hosts are, and how to reach them.

    Example: deploy lab status --output json
    """
    from deployer.lab.operate import status as run

    show_answer("lab status", common, lambda record: run(record, name=name))


def demo(
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="processes|machines", help="Processes on loopback, or systemd hosts (need root)."
        ),
    ] = "",
    *,
    common: Common,
) -> None:
    """Show the whole story on a throw-away fleet.

    A push wave by wave, a broken release that is restored, a rollback, and a receipt of the traffic.

    Example: deploy demo
    """
    from deployer.lab.demo import demo as run

    carry_out("demo", common, lambda invocation: run(invocation, kind=kind))


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for function in (up, down, status):
        add_command(lab_app, function, shared=("output",))
    app.add_typer(lab_app, name="lab", rich_help_panel="Lab")
    add_command(app, demo, panel="Lab", shared=("output",))
