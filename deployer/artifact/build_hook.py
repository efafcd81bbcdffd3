"""The build hook: the user's command, here, in the tree that is about to be shipped."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from deployer import local_program
from deployer.agent.model.failure import cause_of
from deployer.agent.model.shell import first_line, shell_argv
from deployer.agent.system.process_runner import tail
from deployer.artifact.source import SourceTree
from deployer.errors import RolloutError
from deployer.settings.models import Hook

_LOG_LINES = 30


def run_build_hook(
    tree: SourceTree,
    hook: Hook,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = print,
    stop: threading.Event | None = None,
) -> None:
    """Run the hook in `tree.path`; what it creates there is shipped.

    Args:
        env: variables beside this process's own environment.
        on_line: called with every line that it prints.
        stop: once set, the hook's process group is ended, and nothing is raised.

    Raises:
        RolloutError `build_failed` with its last lines, when it fails, or takes longer than its timeout: its whole
        process group is ended then.
    """
    done = local_program.run(
        shell_argv(hook.command),
        timeout=hook.timeout,
        cwd=tree.path,
        env={**os.environ, **(env or {})},
        on_line=on_line,
        merge_stderr=True,
        cancelled=stop,
    )
    if done.ok or done.cancelled:
        return
    why = cause_of(done.stdout.splitlines(), done.why if done.started else done.stderr)
    ending = f"took longer than {hook.timeout:g} s" if done.timed_out else f"failed: {why}"
    raise RolloutError(
        f"the build hook {ending}",
        step="build",
        cause=first_line(hook.command),
        hint=f"raise hooks.build.timeout ({hook.timeout:g} s), or mend the hook; then type deploy {{command}} {{env}}"
        if done.timed_out
        else "mend it, then type deploy {command} {env}; no host was touched",
        log=tail(done.stdout, _LOG_LINES),
        code="build_failed",
    )
