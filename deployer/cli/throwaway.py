"""Fleets that are thrown away: lab and demo."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.options import Common, with_common
from deployer.cli.run import carry_out, show_answer

lab_app = typer.Typer(help="A throw-away fleet of real hosts on this machine.", no_args_is_help=True)
Name = Annotated[str, typer.Option("--name", help="The lab's name; it is an ENV while the lab is up.")]


def up(
    name: Name = "lab",
    kind: Annotated[
        str, typer.Option("--kind", metavar="processes|machines", help="Real systemd hosts need root.")
    ] = "",
    hosts: Annotated[int, typer.Option("--hosts", help="How many web hosts.")] = 3,
    supervisor: Annotated[
        str, typer.Option("--supervisor", metavar="systemd|supervisord", help="What runs the app on its hosts.")
    ] = "",
    balancer: Annotated[
        str, typer.Option("--balancer", metavar="haproxy|nginx|caddy|none", help="What stands before the web hosts.")
    ] = "",
    suite: Annotated[
        str, typer.Option("--suite", metavar="bullseye|bookworm|trixie", help="The Debian of the machines; bookworm.")
    ] = "",
    *,
    common: Common,
) -> None:
    """Bring a lab up, or complete one that is up.

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
    """Take a lab down; nothing of it stays.

    Example: deploy lab down
    """
    from deployer.lab.operate import down as run

    carry_out("lab down", common, lambda invocation: run(invocation, name=name))


def status(name: Name = "lab", *, common: Common) -> None:
    """Where the lab's hosts are and how to reach them.

    Example: deploy lab status --output json
    """
    from deployer.lab.operate import status as run

    show_answer("lab status", common, lambda record: run(record, name=name))


def demo(
    kind: Annotated[
        str, typer.Option("--kind", metavar="processes|machines", help="Real systemd hosts need root.")
    ] = "",
    *,
    common: Common,
) -> None:
    """The whole story on a throw-away fleet: push, wave by wave, a broken release restored, rollback, the receipt.

    Example: deploy demo
    """
    from deployer.lab.demo import demo as run

    carry_out("demo", common, lambda invocation: run(invocation, kind=kind))


def register(app: typer.Typer) -> None:
    """Adds these commands to the application."""
    for function in (up, down, status):
        lab_app.command()(with_common(function))
    app.add_typer(lab_app, name="lab")
    app.command()(with_common(demo))
