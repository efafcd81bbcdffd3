"""The user's commands around a rollout: `release` on one host before the first wave, `succeeded` and `failed` here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from deployer.agent.model.messages.releases import HOOK, RunReleaseHook
from deployer.agent.model.shell import first_line, shell_argv
from deployer.agent.system import process_runner
from deployer.errors import NeedsPersonError, RolloutError
from deployer.events import Output, Warned
from deployer.plan import start
from deployer.remote.errors import AgentError
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run


def release_hook(run: Run, project: Project, release: str) -> None:
    """Runs `hooks.release` once, on the inventory's first web host whatever the limit, and to its end without us too.

    RolloutError when it failed; NeedsPersonError when an earlier run of it has an unknown outcome.
    """
    hook = run.topology.settings.hooks.release
    if hook is None:
        return
    web = run.topology.everywhere[0]
    request = RunReleaseHook(
        site=run.site(web.name),
        run=run.id,
        release=release,
        command=hook.command,
        env=dict(start.environment(run.topology, web, project.inferred, release)),
        timeout=hook.timeout,
        rerun_safe=hook.rerun == "safe",
    )
    with run.step("release hook", host=web.name, detail=first_line(hook.command)) as note:
        try:
            answer = run.call(web.name, HOOK, request, step="release hook")
        except AgentError as error:
            kind = NeedsPersonError if error.code == "unknown_outcome" else RolloutError
            raise error.as_kind(
                kind, hint="mend it, then type deploy {command} {env}; no instance was touched"
            ) from error
        note.detail = "was already done" if answer["skipped"] else first_line(hook.command)


def run_local_hook(
    project: Project, name: str, outcome: str, invocation: Invocation, skip_hooks: Sequence[str]
) -> None:
    """Runs `hooks.succeeded` or `hooks.failed` on this machine. Its failure is only a warning: the run is over."""
    hook = getattr(project.topology.settings.hooks, name)
    if hook is None or name in skip_hooks:
        return
    env = controller_env(project, None) | {
        "DEPLOY_RELEASE": invocation.record.release or "",
        "DEPLOY_PREVIOUS": invocation.record.previous or "",
        "DEPLOY_OUTCOME": outcome,
    }
    done = process_runner.run(
        shell_argv(hook.command),
        timeout=hook.timeout,
        cwd=str(project.base),
        env=env,
        merge_stderr=True,
        on_line=lambda line: invocation.bus.emit(Output(line, step=f"{name} hook")),
    )
    if done.exit != 0:
        hint = f"raise hooks.{name}.timeout" if done.timed_out else ""
        invocation.bus.emit(Warned(f"hooks.{name} failed: {done.why}; the run itself is not affected", hint=hint))


def controller_env(project: Project, commit: str | None) -> dict[str, str]:
    """What hooks on this machine see: our own environment and what is deployed."""
    own: Mapping[str, str] = {
        "DEPLOY_APP": project.topology.settings.app,
        "DEPLOY_ENV": project.env,
        "DEPLOY_WHO": project.who,
        "DEPLOY_COMMIT": commit or "",
    }
    return {**os.environ, **own}
