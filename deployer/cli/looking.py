"""Commands that only look: status, releases, history, verify, render, logs, hosts, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.options import Common, with_common
from deployer.cli.project import Env, EnvNeeded, load, load_to_look
from deployer.cli.run import carry_out, show_answer
from deployer.cli.values import one_of, seconds


def status(env: Env = None, *, common: Common) -> None:
    """What runs where, judged from processes and the live balancer; exit 7 when an instance does not serve.

    Also the lock, a freeze, half-done runs, and what is held out of the balancers.

    Example: deploy status prod
    """
    from deployer.rollout.queries.status import status as run

    carry_out("status", common, lambda invocation: run(load_to_look(env, common), invocation))


def releases(env: Env = None, *, common: Common) -> None:
    """The releases on the hosts, and which of them can be rolled back to.

    Example: deploy releases prod
    """
    from deployer.rollout.queries.releases import releases as run

    carry_out("releases", common, lambda invocation: run(load_to_look(env, common), invocation))


def history(
    env: Env = None,
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="A run's id: every line of it.")] = None,
    *,
    common: Common,
) -> None:
    """Who did what and how it ended, from the ledgers of the hosts.

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
    junitxml: Annotated[Path | None, typer.Option("--junitxml", help="Write a JUnit report here.")] = None,
    *,
    common: Common,
) -> None:
    """Run the testinfra checks of every role and your own, through the open sessions.

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
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")],
    standalone: Annotated[
        bool, typer.Option("--standalone", help="Also uvicorn_config.py or gunicorn.conf.py, to run without deploy.")
    ] = False,
    image: Annotated[
        bool, typer.Option("--dockerfile", help="Also a Dockerfile of the app, and its ignore file.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Write every file that would be sent to hosts, a folder for each, and a Dockerfile. Connects to nothing.

    Example: deploy render prod --out rendered/
    """
    from deployer.rollout.queries.render import render as run

    more = {"standalone": standalone, "image": image}
    carry_out("render", common, lambda invocation: run(load(env, common), invocation, out=out, **more))


def logs(
    env: Env = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=1, help="How many lines of each instance: 50; 5000 with --since.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only what was written within so long, e.g. 10m.")
    ] = None,
    grep: Annotated[str | None, typer.Option("--grep", help="Only lines with this regular expression.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also the health checks that went well.")] = False,
    process: Annotated[str | None, typer.Option("--process", help="Only this process or schedule.")] = None,
    *,
    common: Common,
) -> None:
    """The last lines of all instances, processes and schedules, merged, without the health checks that went well.

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
    """The inventory as it is read: hosts, parts, how SSH reaches them.

    Example: deploy hosts prod
    """
    from deployer.rollout.queries.hosts import hosts as run

    carry_out("hosts", common, lambda invocation: run(load_to_look(env, common), invocation))


def schema(
    command: Annotated[
        str | None,
        typer.Argument(metavar="COMMAND", help="The schema of what this command answers with --output json."),
    ] = None,
    *,
    common: Common,
) -> None:
    """The JSON Schema of deploy.yaml, for editors, or of what a command that looks answers.

    Example: deploy schema > deploy.schema.json
    """
    from deployer.rollout.answers import ANSWERS, show_schema

    chosen = one_of(command, list(ANSWERS), "COMMAND")
    show_answer("schema", common, lambda record: show_schema(record, chosen))


def register(app: typer.Typer) -> None:
    """Adds these commands to the application."""
    for function in (status, releases, history, verify, render, logs, hosts, schema):
        app.command()(with_common(function))
