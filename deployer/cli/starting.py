"""Commands of the first ten minutes: init, dev, trust, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.help import add_command
from deployer.cli.options import Common
from deployer.cli.project import Env, load, load_to_look
from deployer.cli.run import carry_out
from deployer.cli.values import one_of


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the app.")] = Path("."),
    target: Annotated[
        str | None, typer.Option("--app", metavar="MODULE:NAME", help="The app, where the code has several.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--command", metavar="COMMAND", help="The command that serves at $PORT, for an app with its own server."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--scale", metavar="small|medium|large", help="Start with one of three usual sizes.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Write deploy.yaml and an inventory for the app in this folder.

    Reads the code, and explains every line that it writes.

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
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Listen at this address.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="Listen at this port; deploy.yaml's by default."),
    ] = None,
    env: Annotated[str, typer.Option("--env", metavar="ENV", help="Merge deploy.ENV.yaml over deploy.yaml.")] = "dev",
    strict: Annotated[bool, typer.Option("--strict", help="Fail when a secret cannot be read.")] = False,
    *,
    common: Common,
) -> None:
    """Run the app here, and reload it when its code changes.

    It has the settings of deploy.yaml. Ctrl-C ends it with exit status 130.

    Example: deploy dev --port 8080
    """
    from deployer.dev.serve import DevServerSpec
    from deployer.dev.serve import dev as run

    # With JSON lines, stdout carries nothing else.
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
        bool, typer.Option("--replace", help="Replace the pinned keys of hosts whose keys have changed.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Show the fingerprints of the hosts' keys, and pin the keys.

    Pinned keys are in `inventories/known_hosts`.

    Example: deploy trust prod
    """
    from deployer.rollout.queries.trust import trust as run

    carry_out(
        "trust",
        common,
        lambda invocation: run(load(env, common), invocation, confirm=common.confirm, replace=replace),
    )


def doctor(env: Env = None, *, common: Common) -> None:
    """Find everything that would stop a push. Changes nothing.

    Example: deploy doctor prod
    """
    from deployer.rollout.queries.doctor import doctor as run

    carry_out("doctor", common, lambda invocation: run(load_to_look(env, common), invocation))


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    add_command(app, init, panel="Start", shared=("output",))
    add_command(app, dev, panel="Start", shared=("config", "output"))
    for function in (trust, doctor):
        add_command(app, function, panel="Start")
