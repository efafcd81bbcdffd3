"""Commands that a person uses to intervene: drain, admit, maintenance, freeze, unfreeze, cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.help import add_command
from deployer.cli.options import Common
from deployer.cli.project import Env, EnvNeeded, load
from deployer.cli.run import carry_out

HostName = Annotated[str, typer.Argument(metavar="HOST", help="A host, by its name in the inventory.")]


def drain(
    env: EnvNeeded,
    host: HostName,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; `status` shows it.")] = "by hand",
    *,
    common: Common,
) -> None:
    """Take a host's instances out of the balancers.

    They stay out through pushes until `deploy admit` puts them back.

    Example: deploy drain prod web2 --reason "a broken disk"
    """
    from deployer.rollout.commands.manual import drain as run

    carry_out(
        "drain",
        common,
        lambda invocation: run(load(env, common), invocation, host=host, reason=reason, force=common.yes),
    )


def admit(env: EnvNeeded, host: HostName, *, common: Common) -> None:
    """Put a drained host's instances back into the balancers.

    Example: deploy admit prod web2
    """
    from deployer.rollout.commands.manual import admit as run

    carry_out("admit", common, lambda invocation: run(load(env, common), invocation, host=host, force=common.yes))


def maintenance(
    env: EnvNeeded,
    state: Annotated[str, typer.Argument(metavar="on|off", help="Whether users get the maintenance page.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; `status` shows it.")] = "by hand",
    *,
    common: Common,
) -> None:
    """Show users a maintenance page (status 503), or the app again.

    Pushes still work while the page is shown.

    Example: deploy maintenance prod on --reason "a new database"
    """
    from deployer.rollout.commands.maintenance import maintenance as run

    if state not in ("on", "off"):
        raise typer.BadParameter(f"{state!r} is not one of on, off", param_hint="on|off")
    carry_out(
        "maintenance",
        common,
        lambda invocation: run(load(env, common), invocation, on=state == "on", reason=reason),
    )


def freeze(
    env: Env = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; every push that is refused shows it.")
    ] = ...,  # type: ignore[assignment]
    *,
    common: Common,
) -> None:
    """Refuse all pushes to an environment; rollbacks still work.

    Example: deploy freeze prod --reason "the sale is on"
    """
    from deployer.rollout.commands.manual import freeze as run

    carry_out("freeze", common, lambda invocation: run(load(env, common), invocation, reason=reason))


def unfreeze(env: Env = None, *, common: Common) -> None:
    """Allow pushes again.

    Example: deploy unfreeze prod
    """
    from deployer.rollout.commands.manual import unfreeze as run

    carry_out("unfreeze", common, lambda invocation: run(load(env, common), invocation))


def cancel(env: Env = None, *, common: Common) -> None:
    """Stop the run that holds the lock, as Ctrl-C there would.

    Example: deploy cancel prod
    """
    from deployer.rollout.commands.manual import cancel as run

    carry_out("cancel", common, lambda invocation: run(load(env, common), invocation))


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for function in (drain, admit, maintenance, freeze, unfreeze, cancel):
        add_command(app, function, panel="Operate")
