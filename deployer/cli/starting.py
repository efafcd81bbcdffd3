"""Commands of the first ten minutes: init, dev, trust, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.options import Common, with_common
from deployer.cli.project import Env, load, load_to_look
from deployer.cli.run import carry_out
from deployer.cli.values import one_of


def init(
    folder: Annotated[Path, typer.Argument(help="The folder of the app.")] = Path("."),
    target: Annotated[
        str | None, typer.Option("--app", metavar="MODULE:NAME", help="The app, where several could be meant.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--command", metavar="COMMAND", help="What serves at $PORT, for an app that does it itself."),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--scale", metavar="small|medium|large", help="Begin with one of three usual sizes.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Write deploy.yaml and an inventory for the app in this folder, by reading its code, and say why.

    Example: deploy init --scale medium
    """
    from deployer.rollout.queries.init import init as run
    from deployer.settings.init.runtime import InitOptions
    from deployer.settings.init.size_presets import SIZES

    chosen = one_of(size, SIZES, "--scale")
    carry_out(
        "init",
        common,
        lambda invocation: run(folder, invocation, options=InitOptions(target, command, chosen)),
    )


def dev(
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="The port; that of deploy.yaml by default.")
    ] = None,
    env: Annotated[str, typer.Option("--env", metavar="ENV", help="Lay deploy.ENV.yaml over deploy.yaml.")] = "dev",
    strict: Annotated[bool, typer.Option("--strict", help="End with an error when a secret cannot be had.")] = False,
    *,
    common: Common,
) -> None:
    """Run the app here with the settings of deploy.yaml, and reload it when its code changes. Ctrl-C ends it: exit 130.

    Example: deploy dev --port 8080
    """
    from deployer.dev.serve import DevServerSpec
    from deployer.dev.serve import dev as run

    # Who reads JSON lines gets nothing else on stdout.
    output = 2 if common.output == "json" else None
    carry_out(
        "dev",
        common,
        lambda invocation: run(
            invocation, wished=DevServerSpec(host, port, strict), env=env, config=common.config, output=output
        ),
        winding_up="ending",
    )


def trust(
    env: Env = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop the pinned keys of hosts that have others now.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Show the fingerprints of the hosts' keys and pin them in inventories/known_hosts.

    Example: deploy trust prod
    """
    from deployer.rollout.queries.trust import trust as run

    carry_out(
        "trust",
        common,
        lambda invocation: run(load(env, common), invocation, confirm=common.confirm, replace=replace),
    )


def doctor(env: Env = None, *, common: Common) -> None:
    """Find everything that would stop a push, in one pass. Changes nothing.

    Example: deploy doctor prod
    """
    from deployer.rollout.queries.doctor import doctor as run

    carry_out("doctor", common, lambda invocation: run(load_to_look(env, common), invocation))


def register(app: typer.Typer) -> None:
    """Adds these commands to the application."""
    for function in (init, dev, trust, doctor):
        app.command()(with_common(function))
