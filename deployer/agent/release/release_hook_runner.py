"""The process that runs a release hook to its end, detached from every session: `agent.pyz hook_runner SPEC`.

It holds `<release>.running` locked while it lives, and the site's lock by a descriptor it was started with; the command
inherits neither. The outcome is in the ledger before it ends.
"""

from __future__ import annotations

import collections
import fcntl
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from deployer.agent.model import failure
from deployer.agent.model.layout import Site
from deployer.agent.model.shell import shell_argv
from deployer.agent.operation import OpError
from deployer.agent.site import app_environment, ledger, lock, secrets
from deployer.agent.system import process_runner

_SEARCHED_LINES = 300  # of what the command printed, for the exception that ended it
_HUNG_UP = (signal.SIGHUP, signal.SIGINT)


def main(argv: Sequence[str]) -> int:
    """Runs the hook that the file `argv[0]` describes; 0 when its outcome was written down, good or bad."""
    for number in _HUNG_UP:
        signal.signal(number, lambda number, frame: None)  # not SIG_IGN, which the command would inherit
    with open(argv[0], encoding="utf-8") as file:
        spec: dict[str, Any] = json.load(file)
    site = Site(**spec["site"])
    folder = os.path.dirname(argv[0])
    held = os.open(f"{folder}/{spec['release']}.running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write("another runner is at work for this release\n")
        return 1
    os.ftruncate(held, 0)
    os.write(held, b"%d\n" % os.getpid())
    lock.show_life(site)
    done, why = _run(site, spec, f"{folder}/{spec['run']}.log")
    outcome: ledger.Entry = {"run": spec["run"], "event": "outcome", "op": "hook", "release": spec["release"]}
    exit_status = done.exit if done else None
    limit = done.timeout if done and done.timed_out else None
    ended: ledger.Entry = {**outcome, "ok": bool(done and done.ok), "why": why, "exit": exit_status, "timeout": limit}
    ledger.append(site, ended)
    os.unlink(argv[0])
    return 0


def _run(site: Site, spec: dict[str, Any], log: str) -> tuple[process_runner.Finished | None, str]:
    """Runs the command with its output in `log`; how it ended, and in words."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    redact = secrets.redactor(site)

    last: collections.deque[str] = collections.deque(maxlen=_SEARCHED_LINES)

    def heard(line: str) -> None:
        last.append(redact(line))
        os.write(fd, last[-1].encode("utf-8", "replace") + b"\n")

    try:
        done = process_runner.run(
            app_environment.with_secrets(site, shell_argv(spec["command"])),
            timeout=spec["timeout"],
            cwd=site.release(spec["release"]),
            env=app_environment.environment(site, spec["release"], {"PYTHONUNBUFFERED": "1", **spec["env"]}),
            user=site.user,
            on_line=heard,
            merge_stderr=True,
            limit=1 << 16,
        )
    except (OpError, OSError) as error:
        return None, str(error)
    return done, failure.cause_of(last, done.why)
