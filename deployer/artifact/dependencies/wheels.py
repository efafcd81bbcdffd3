"""`python: {build: here}`: everything a virtualenv needs, as wheels made or fetched here for hosts with no way out."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from deployer import local_program
from deployer.agent.site.app_environment import Redactor
from deployer.agent.system.process_runner import tail
from deployer.artifact.dependencies.host_python import HostPython
from deployer.artifact.dependencies.python import Locked
from deployer.errors import NotReadyError, RolloutError

_TIMEOUT_S = 1800.0  # for one file of requirements: compiling numerical packages takes its time


def wheelhouse(
    locked: Locked,
    cache: Path,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> Path:
    """Return a folder with a wheel for every pinned requirement; made once for each key.

    Wheels are fetched for the hosts' platform. Where this machine is of their kind, what has no wheel is built.

    Args:
        cache: where the folders are kept.
        env: `python.env`; `secrets`: values of `python.secrets`, for private indexes.
        on_line: called with pip's output, secrets masked.

    Raises:
        NotReadyError: pip is not on this machine. RolloutError `install_failed`: a wheel cannot be had.
    """
    made = cache / "wheels" / locked.key
    if made.is_dir():
        return made
    if importlib.util.find_spec("pip") is None:
        raise NotReadyError(
            "python.build: here needs pip, which is not installed on this machine",
            hint=f"{sys.executable} -m ensurepip",
        )
    made.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{locked.key}-", dir=made.parent))
    try:
        for number, text in enumerate(locked.requirements):
            file = fresh / f"requirements-{number}.txt"
            file.write_text(text, "utf-8")
            redact = Redactor((secrets or {}).values())
            _pip(_words(locked.host, file, fresh), {**(env or {}), **(secrets or {})}, redact, on_line)
            file.unlink()
        fresh.rename(made)
    except BaseException:
        shutil.rmtree(fresh)
        raise
    return made


def _words(host: HostPython, requirements: Path, into: Path) -> list[str]:
    if host.same_as_here:
        return ["wheel", "--no-deps", "--wheel-dir", str(into), "-r", str(requirements)]
    target = ["--python-version", host.version, "--implementation", "cp"]
    for platform in host.wheel_platforms:
        target += ["--platform", platform]
    return ["download", "--no-deps", "--only-binary=:all:", *target, "--dest", str(into), "-r", str(requirements)]


def _pip(words: list[str], environ: Mapping[str, str], redact: Redactor, on_line: Callable[[str], None]) -> None:
    done = local_program.run(
        [sys.executable, "-m", "pip", *words, "--no-input", "--progress-bar", "off", "--disable-pip-version-check"],
        timeout=_TIMEOUT_S,
        env={**os.environ, **environ},
        on_line=lambda line: on_line(redact(line)),
        merge_stderr=True,
    )
    if not done.ok:
        raise RolloutError(
            f"pip {words[0]} failed on this machine: {done.why}",
            step="build",
            hint="a package without a wheel for the hosts must be built on them: python: {build: host}",
            log=[redact(line) for line in tail(done.stdout, 30)],
            code="install_failed",
        )
