"""Commands that change hosts: setup, push, reload, rollback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployer.cli.options import Common, with_common
from deployer.cli.project import Env, load, load_to_look, other
from deployer.cli.run import carry_out
from deployer.cli.values import OnFailure, ProbeUrl, Rate, Strategy, Wait, Waves, rolling_keys, seconds

if TYPE_CHECKING:
    from deployer.rollout.run.invocation import Invocation

From = Annotated[
    str | None, typer.Option("--from", metavar="ENV", help="The release that this environment has proven.")
]


def setup(
    env: Env = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take over what deploy did not create.")] = False,
    *,
    common: Common,
) -> None:
    """Prepare the hosts once: packages, users, folders, supervisor, balancer.

    Example: deploy setup prod
    """
    from deployer.rollout.commands.setup import setup as run

    carry_out("setup", common, lambda invocation: run(load(env, common), invocation, replace=replace))


def push(
    env: Env = None,
    ref: Annotated[str | None, typer.Option("--ref", help="Git ref to push; HEAD by default.")] = None,
    release: Annotated[
        str | None, typer.Option("--release", help="A release that is built already, or `current`.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last run that did not come to its end.")
    ] = False,
    origin: From = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Exactly what plan --out FILE planned.")
    ] = None,
    skip_hook: Annotated[list[str] | None, typer.Option("--skip-hook", help="Leave out this hook.")] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Resolve unlocked dependencies anew, as a new release.")
    ] = False,
    wait: Wait = "0",
    waves: Waves = None,
    strategy: Strategy = None,
    on_failure: OnFailure = None,
    probe: ProbeUrl = None,
    rate: Rate = None,
    *,
    common: Common,
) -> None:
    """Build, ship and roll out, wave by wave; put everything back if it fails.

    Example: deploy push prod --from staging
    """
    from deployer.rollout.commands.push import push as run
    from deployer.rollout.delivery.plan_file import Options, PlanFile, read

    rolling = rolling_keys(waves, strategy, on_failure, probe, rate)
    if plan and (ref or release or resume or origin or skip_hook or waves or strategy or on_failure or common.limit):
        raise typer.BadParameter("says all of that: give it alone, or make another plan", param_hint="--plan")

    def work(invocation: Invocation) -> None:
        planned: PlanFile | None = read(plan) if plan else None
        options = planned.options if planned else Options(origin, common.limit)
        run(
            load(env, replace(common, limit=options.limit), {**options.rolling, **rolling}),
            invocation,
            ref=planned.commit if planned and not options.origin else ref,
            release=release,
            resume=resume,
            origin=load(options.origin, other(common)) if options.origin else None,
            planned=planned,
            skip_hooks=tuple(skip_hook or ()),
            upgrade=upgrade,
        )

    carry_out("push", common, work, wait=seconds(wait))


def plan(
    env: Env = None,
    ref: Annotated[str | None, typer.Option("--ref", help="Git ref to plan for; HEAD by default.")] = None,
    diff: Annotated[bool, typer.Option("--diff/--no-diff", help="Show the diff of every file.")] = True,
    origin: From = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 10 when a push would change something.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the plan here, for push --plan.")
    ] = None,
    waves: Waves = None,
    strategy: Strategy = None,
    *,
    common: Common,
) -> None:
    """Show what push would do: waves, steps, file diffs, what was inferred. Changes nothing.

    Example: deploy plan prod --out plan.json
    """
    from deployer.rollout.delivery.plan_file import Options
    from deployer.rollout.queries.plan import show_plan

    rolling = rolling_keys(waves, strategy)
    carry_out(
        "plan",
        common,
        lambda invocation: show_plan(
            load_to_look(env, common, rolling),
            invocation,
            ref=ref,
            origin=load(origin, other(common)) if origin else None,
            diffs=diff,
            detailed_exitcode=detailed_exitcode,
            out=out,
            options=Options(origin, common.limit, rolling),
        ),
    )


def reload(
    env: Env = None,
    rolling: Annotated[bool, typer.Option("--rolling/--all-at-once", help="Wave by wave, or all together.")] = True,
    wait: Wait = "0",
    waves: Waves = None,
    strategy: Strategy = None,
    on_failure: OnFailure = None,
    probe: ProbeUrl = None,
    rate: Rate = None,
    *,
    common: Common,
) -> None:
    """Restart the current release wave by wave, with today's secrets.

    Example: deploy reload prod --rolling
    """
    from deployer.rollout.commands.reload import reload as run

    options = rolling_keys(waves, strategy, on_failure, probe, rate)
    carry_out(
        "reload",
        common,
        lambda invocation: run(load(env, common, options), invocation, rolling=rolling),
        wait=seconds(wait),
    )


def rollback(
    env: Annotated[str, typer.Argument(metavar="ENV", help="The environment.")],
    release: Annotated[
        str | None, typer.Argument(metavar="RELEASE", help="Release id or commit; left out: the last proven one.")
    ] = None,
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="REASON", help="Stop all pushes too, until unfreeze.")
    ] = None,
    wait: Wait = "0",
    waves: Waves = None,
    strategy: Strategy = None,
    on_failure: OnFailure = None,
    probe: ProbeUrl = None,
    rate: Rate = None,
    *,
    common: Common,
) -> None:
    """Go back to the last proven release, or to RELEASE, wave by wave. No release hook runs.

    Example: deploy rollback prod --freeze "orders are lost"
    """
    from deployer.rollout.commands.rollback import rollback as run

    rolling = rolling_keys(waves, strategy, on_failure, probe, rate)
    carry_out(
        "rollback",
        common,
        lambda invocation: run(load(env, common, rolling), invocation, release=release, freeze=freeze),
        wait=seconds(wait),
    )


def prune(
    env: Env = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and how much it frees.")] = False,
    wait: Wait = "0",
    *,
    common: Common,
) -> None:
    """Remove the releases and virtualenvs that `keep` no longer covers; what is in use or proven last stays.

    Example: deploy prune prod --dry-run
    """
    from deployer.rollout.delivery.prune import prune as run

    carry_out(
        "prune",
        common,
        lambda invocation: run(load(env, common), invocation, dry_run=dry_run),
        wait=seconds(wait),
    )


def register(app: typer.Typer) -> None:
    """Adds these commands to the application."""
    for function in (setup, plan, push, reload, rollback, prune):
        app.command()(with_common(function))
