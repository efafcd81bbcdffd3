"""Commands that change hosts: setup, plan, push, reload, rollback, prune."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployer.cli.help import add_command
from deployer.cli.options import Common
from deployer.cli.project import Env, load, load_to_look, other
from deployer.cli.run import carry_out
from deployer.cli.values import OnFailure, ProbeUrl, Rate, Strategy, Wait, Waves, rolling_keys, seconds

if TYPE_CHECKING:
    from deployer.rollout.run.invocation import Invocation

From = Annotated[
    str | None, typer.Option("--from", metavar="ENV", help="Ship the release that ENV has proven, without a build.")
]


def setup(
    env: Env = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take over files and units that deploy did not create.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Prepare hosts once: packages, users, supervisor, balancer.

    Example: deploy setup prod
    """
    from deployer.rollout.commands.setup import setup as run

    carry_out("setup", common, lambda invocation: run(load(env, common), invocation, replace=replace))


def push(
    env: Env = None,
    ref: Annotated[str | None, typer.Option("--ref", metavar="REF", help="Git ref to push; HEAD by default.")] = None,
    release: Annotated[
        str | None,
        typer.Option("--release", metavar="ID", help="Roll out a release that is already built, or `current`."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the last unfinished run.")] = False,
    origin: From = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="Do exactly what `plan --out FILE` planned.")
    ] = None,
    skip_hook: Annotated[
        list[str] | None, typer.Option("--skip-hook", metavar="HOOK", help="Skip this hook; may be repeated.")
    ] = None,
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
    """Build, ship and roll out a release; restore all if it fails.

    Instances change wave by wave. On failure, what served before is put back, unless --on-failure says otherwise.

    Example: deploy push prod --from staging
    """
    from deployer.rollout.commands.push import push as run
    from deployer.rollout.delivery.plan_file import Options, PlanFile, read

    rolling = rolling_keys(waves, strategy, on_failure, probe, rate)
    if plan and (ref or release or resume or origin or skip_hook or waves or strategy or on_failure or common.limit):
        raise typer.BadParameter(
            "cannot be combined with these options: the plan file already holds them", param_hint="--plan"
        )

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
    ref: Annotated[
        str | None, typer.Option("--ref", metavar="REF", help="Git ref to plan for; HEAD by default.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff/--no-diff", help="Show the diff of every file.")] = True,
    origin: From = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 10 when a push would change something.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the plan to FILE, for `push --plan FILE`."),
    ] = None,
    waves: Waves = None,
    strategy: Strategy = None,
    *,
    common: Common,
) -> None:
    """Show what push would do. Changes nothing.

    The plan lists waves, steps, file diffs, and what was inferred from the code.

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
    rolling: Annotated[
        bool, typer.Option("--rolling/--all-at-once", help="Restart wave by wave, or all instances at once.")
    ] = True,
    wait: Wait = "0",
    waves: Waves = None,
    strategy: Strategy = None,
    on_failure: OnFailure = None,
    probe: ProbeUrl = None,
    rate: Rate = None,
    *,
    common: Common,
) -> None:
    """Restart the current release with the current secrets.

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
        str | None,
        typer.Argument(metavar="RELEASE", help="A release id or commit; by default the last proven release."),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option("--freeze", metavar="REASON", help="Also refuse pushes until `unfreeze`.")
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
    """Go back to the last proven release, or to RELEASE.

    Instances change wave by wave. The release hook does not run.

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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed, and how much it frees.")
    ] = False,
    wait: Wait = "0",
    *,
    common: Common,
) -> None:
    """Remove releases and virtualenvs that `keep` no longer covers.

    Releases in use and the last proven release always stay.

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
    """Add these commands to the application."""
    add_command(app, setup, panel="Start")
    for function in (plan, push, reload, rollback):
        add_command(app, function, panel="Ship")
    add_command(app, prune, panel="Operate")
