"""Commands that only look: status, releases, history, verify, render, logs, hosts, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.help import add_command
from deployer.cli.options import Common
from deployer.cli.project import Env, EnvNeeded, load, load_to_look
from deployer.cli.run import carry_out, show_answer
from deployer.cli.values import one_of, seconds


def status(env: Env = None, *, common: Common) -> None:
    """Show what runs where; exit 7 when an instance does not serve.

    The answer comes from the processes and the live balancers. It includes the lock, a freeze, unfinished runs, and
    hosts that are held out of the balancers.

    Example: deploy status prod
    """
    from deployer.rollout.queries.status import status as run

    carry_out("status", common, lambda invocation: run(load_to_look(env, common), invocation))


def releases(env: Env = None, *, common: Common) -> None:
    """List the releases on the hosts, and the rollback candidates.

    Example: deploy releases prod
    """
    from deployer.rollout.queries.releases import releases as run

    carry_out("releases", common, lambda invocation: run(load_to_look(env, common), invocation))


def history(
    env: Env = None,
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="The id of a run; shows all its lines.")] = None,
    *,
    common: Common,
) -> None:
    """List runs: who did what, and how it ended.

    Example: deploy history prod
    """
    from deployer.rollout.queries.history import history as run

    carry_out(
        "history",
        common,
        lambda invocation: run(load_to_look(env, common), invocation, run_id=run_id),
    )


def verify(
    env: Env = None,
    junitxml: Annotated[
        Path | None, typer.Option("--junitxml", metavar="FILE", help="Write a JUnit report to FILE.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Run the testinfra checks of every role, and your own.

    Example: deploy verify prod --junitxml verify.xml
    """
    from deployer.rollout.queries.verify import verify as run

    carry_out(
        "verify",
        common,
        lambda invocation: run(load_to_look(env, common), invocation, junitxml=junitxml),
    )


def render(
    env: EnvNeeded,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Write to this folder.")],
    standalone: Annotated[
        bool,
        typer.Option(
            "--standalone", help="Also write uvicorn_config.py or gunicorn.conf.py, to run the app without deploy."
        ),
    ] = False,
    image: Annotated[
        bool, typer.Option("--dockerfile", help="Also write a Dockerfile of the app and its ignore file.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Write every file that a push would send, one folder per host.

    Connects to nothing.

    Example: deploy render prod --out rendered/
    """
    from deployer.rollout.queries.render import render as run

    more = {"standalone": standalone, "image": image}
    carry_out("render", common, lambda invocation: run(load(env, common), invocation, out=out, **more))


def logs(
    env: Env = None,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", metavar="N", min=1, help="Lines per instance; 50, or 5000 with --since."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only lines of the last DURATION, e.g. 10m.")
    ] = None,
    grep: Annotated[str | None, typer.Option("--grep", metavar="REGEX", help="Only lines that match this.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new lines until Ctrl-C.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also show successful health checks.")] = False,
    process: Annotated[
        str | None, typer.Option("--process", metavar="NAME", help="Only this process or schedule.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Show the logs of instances, processes and schedules, merged.

    Successful health checks are left out.

    Example: deploy logs prod -n 100 --grep ERROR
    """
    from deployer.rollout.queries.logs import logs as run

    carry_out(
        "logs",
        common,
        lambda invocation: run(
            load_to_look(env, common),
            invocation,
            lines=lines,
            since=None if since is None else seconds(since, "--since"),
            grep=grep,
            follow=follow,
            everything=everything,
            process=process,
        ),
        backpressure=True,
    )


def hosts(env: Env = None, *, common: Common) -> None:
    """Show the inventory as read: hosts, parts, SSH addresses.

    Example: deploy hosts prod
    """
    from deployer.rollout.queries.hosts import hosts as run

    carry_out("hosts", common, lambda invocation: run(load_to_look(env, common), invocation))


def schema(
    command: Annotated[
        str | None,
        typer.Argument(metavar="COMMAND", help="A command; the schema then describes its `--output json`."),
    ] = None,
    *,
    common: Common,
) -> None:
    """Print the JSON Schema of deploy.yaml, for editors.

    With COMMAND, print the schema of that command's JSON answer.

    Example: deploy schema > deploy.schema.json
    """
    from deployer.rollout.answers import ANSWERS, show_schema

    chosen = one_of(command, list(ANSWERS), "COMMAND")
    show_answer("schema", common, lambda record: show_schema(record, chosen))


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for function in (status, logs, releases, history, verify):
        add_command(app, function, panel="Look")
    unconnected = ("inventory", "config", "output", "limit", "user")
    add_command(app, hosts, panel="Look", shared=unconnected)
    add_command(app, render, panel="Look", shared=unconnected)
    add_command(app, schema, panel="Look", shared=("output",))
