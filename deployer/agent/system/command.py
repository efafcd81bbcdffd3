"""A command on the host: for `deploy exec`, hooks of roles, and checks."""

from __future__ import annotations

import threading

from deployer.agent.model.messages import host as wire
from deployer.agent.model.shell import shell_argv
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.system.process_runner import run, tail

_LIMIT = 8 << 20  # bytes kept of each stream
_PATIENCE = 3600.0  # seconds, when no timeout was asked for


@operation(wire.RUN)
def run_command(ctx: Context, request: wire.RunCommand) -> wire.CommandEnded:
    """Runs a command to its end; a status other than 0 is a result, not an error.

    Text runs in sh and stops at the first command that fails; with a `#!` line its interpreter runs it.

    Raises:
        OpError: `timeout`, `cancelled`, `no_user`.
    """
    timeout = float(request.get("timeout") or _PATIENCE)
    stream = bool(request.get("stream"))
    finished = run(
        _argv(request["command"]),
        timeout=timeout,
        cwd=request.get("cwd") or None,
        env=request.get("env"),
        user=request.get("user") or "",
        input=ctx.read_body() or None,
        on_line=ctx.output if stream else None,
        limit=1 << 16 if stream else _LIMIT,
        cancelled=_Stop(ctx),
    )
    if finished.timed_out:
        log = tail(finished.stdout + finished.stderr)
        raise OpError("timeout", f"the command did not end within {timeout:g} s and was killed", log=log)
    if finished.cancelled:
        raise OpError("cancelled", "the command was stopped")
    output = ("", "") if stream else (finished.stdout, finished.stderr)
    return {"exit": finished.exit, "signal": finished.signal, "stdout": output[0], "stderr": output[1]}


def _argv(command: str | list[str]) -> list[str]:
    return shell_argv(command) if isinstance(command, str) else [str(word) for word in command]


class _Stop(threading.Event):
    """Set when the controller asked to stop, or is lost: nobody would read what the command says."""

    def __init__(self, ctx: Context) -> None:
        super().__init__()
        self._ctx = ctx

    def is_set(self) -> bool:
        return self._ctx.cancelled.is_set() or self._ctx.lost.is_set()
