"""The build hook: the user's command, here, in the tree that is about to be shipped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping

from deployer.agent.shell import first_line, shell_argv
from deployer.artifact.source import SourceTree
from deployer.errors import RolloutError
from deployer.settings.models import Hook


def run_build_hook(
    tree: SourceTree, hook: Hook, env: Mapping[str, str] | None = None, on_line: Callable[[str], None] = print
) -> None:
    """Runs the hook in `tree.path`; what it creates there is shipped.

    Args:
        env: variables beside this process's own environment.
        on_line: called with every line that it prints.

    Raises:
        RolloutError `build_failed` with its last lines, when it fails or takes longer than its timeout; its whole
        process group is gone then.
    """
    last: deque[str] = deque(maxlen=30)
    process = subprocess.Popen(
        shell_argv(hook.command),
        cwd=tree.path,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(hook.timeout, end)
    timer.start()
    try:
        for line in process.stdout or ():
            last.append(line.rstrip("\n"))
            on_line(last[-1])
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        timer.cancel()
    if status != 0:
        why = f"took longer than {hook.timeout:g} s" if late.is_set() else f"ended with status {status}"
        raise RolloutError(
            f"the build hook {why}",
            step="build",
            cause=first_line(hook.command),
            hint="mend it and push again; no host was touched",
            log=tuple(last),
            code="build_failed",
        )
