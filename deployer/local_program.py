"""Programs on this machine: git, uv, sops, a user's hooks and commands.

Every one has a bound. It ends when the program ends, even if a process that it left behind holds the pipe open; a
timeout ends everything that it started.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deployer import process_tree
from deployer.agent.system import process_runner
from deployer.agent.system.process_runner import Finished

_LIMIT = 1 << 30  # bytes of output that are kept: all that a sane program prints


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    merge_stderr: bool = False,
    cancelled: threading.Event | None = None,
) -> Finished:
    """Runs a program that asks nothing: stdin is empty, and it has a session of its own.

    Args:
        timeout: seconds until its process group is ended.
        env: the complete environment; this process's own by default.
        on_line: called with every line as it comes.
        merge_stderr: stderr goes where stdout goes.
        cancelled: once set, the process group is ended as at a timeout.

    Returns:
        How it ended. Bytes that are not UTF-8 are surrogates, which `os.fsencode` turns back.
    """
    return process_runner.run(
        argv,
        timeout=timeout,
        cwd=str(cwd) if cwd else None,
        env=env,
        on_line=on_line,
        merge_stderr=merge_stderr,
        cancelled=cancelled,
        limit=_LIMIT,
        errors="surrogateescape",
    )


def run_at_terminal(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    inherit_stderr: bool = False,
) -> Finished:
    """Runs a program that may ask for a passphrase: it keeps stdin and the terminal, and gets Ctrl-C as we do.

    Takes and returns what `run` does. `inherit_stderr`: what it prints to stderr goes to ours.
    """
    with process_tree.subreaper():
        return process_runner.run(
            argv,
            timeout=timeout,
            cwd=str(cwd) if cwd else None,
            env=env,
            limit=_LIMIT,
            errors="surrogateescape",
            terminal=process_tree.NewDescendants(),
            inherit_stderr=inherit_stderr,
        )
