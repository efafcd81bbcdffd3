"""Running the system's own programs, with an error worth reading when one fails."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deployer.errors import DeployError

LOG_LINES = 12
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where the system's programs are, though a user's PATH leaves these folders out, and root's after a plain `su`."""


def run(
    argv: Sequence[str | Path],
    *,
    text_in: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    message: str = "",
) -> str:
    """Run a command to its end, and return its stdout.

    Args:
        argv: the program and its arguments.
        text_in: what it reads; nothing when None.
        env: its whole environment; ours when None.
        timeout: seconds after which it is killed.
        message: what failed, in plain words; the command itself when empty.

    Raises:
        DeployError: it could not be started, took too long or exited with another status than 0.
    """
    words = [str(word) for word in argv]
    what = message or f"`{' '.join(words)}` failed"
    try:
        done = attempt(words, text_in=text_in, env=env, timeout=timeout)
    except FileNotFoundError:
        raise DeployError(what, step="lab", cause=f"unknown program {words[0]}") from None
    except subprocess.TimeoutExpired:
        raise DeployError(what, step="lab", cause=f"not finished after {timeout:g} s") from None
    if done.returncode != 0:
        log = (done.stdout + done.stderr).strip().splitlines()[-LOG_LINES:]
        raise DeployError(what, step="lab", cause=log[-1] if log else f"exit status {done.returncode}", log=log)
    return done.stdout


def attempt(
    argv: Sequence[str | Path],
    *,
    text_in: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Return the same without judging the outcome; raises what `subprocess.run` raises."""
    return subprocess.run(
        [str(word) for word in argv],
        input=text_in,
        stdin=subprocess.DEVNULL if text_in is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        env=_with_sbin(os.environ if env is None else env),
        cwd=cwd,
        timeout=timeout,
        check=False,
    )


def search_path(path: str) -> str:
    """`path`, a PATH, with those of the folders in SBIN that it lacks at its end."""
    folders = path.split(os.pathsep) if path else []
    return os.pathsep.join([*folders, *(folder for folder in SBIN if folder not in folders)])


def _with_sbin(env: Mapping[str, str]) -> dict[str, str]:
    return {**env, "PATH": search_path(env.get("PATH", os.defpath))}


def wait_until(condition: Callable[[], bool], *, within: float, every: float = 0.03) -> bool:
    """Ask `condition` every `every` seconds until it holds; False when it did not within `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True
