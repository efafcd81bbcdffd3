"""The Python that a project's code runs on here, and whether the server is installed there."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer import local_program
from deployer.agent.dependencies.venv import ABSENT
from deployer.errors import SettingsError
from deployer.settings.load import shown

_FROM = {"requirements.txt": ("-r", "requirements.txt"), "pyproject.toml": ("-e", ".")}
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Interpreter:
    """`path` is absolute and no resolved link: a virtualenv is known by where its python lies. `why` says which it is.

    `borrowed`: the project has none of its own, and this is the tool's.
    """

    path: Path
    why: str
    borrowed: bool = False

    @property
    def folder(self) -> Path:
        """Where its programs lie, which belong in front of PATH."""
        return self.path.parent

    def require(self, distributions: Sequence[str], requirements_file: str | None) -> None:
        """SettingsError, with what to type, when one of them is not installed there.

        `requirements_file` is what the project is installed from, if anything.
        """
        # In a session of its own: a Ctrl-C in this moment says nothing about what is installed.
        done = local_program.run([str(self.path), "-c", ABSENT, *distributions], timeout=_TIMEOUT_S)
        if done.timed_out or not done.started:
            cause = done.why if done.timed_out else done.stderr
            raise SettingsError(
                f"{self.why}, {shown(self.path)}, cannot be run", cause=cause, hint="create the virtualenv again"
            )
        missing = done.stdout.split()
        if not done.ok or missing:
            what = " and ".join(missing) or "Python"
            raise SettingsError(
                f"{what} is not installed in {self.why} ({shown(self.path)})",
                step="dev",
                cause=(done.stderr.strip().splitlines() or [""])[-1] or None,
                hint=f"type: {self._installing(missing, requirements_file)}",
                code="missing_server",
            )

    def _installing(self, missing: Sequence[str], file: str | None) -> str:
        """Return the commands that install what the project asks for, and the server beside it."""
        python = ".venv/bin/python" if self.borrowed else shlex.quote(shown(self.path))
        words = " ".join([*_FROM.get(file or "", ()), *map(shlex.quote, missing)])
        if file == "uv.lock":
            return f"uv sync, and if that does not bring it: uv pip install --python {python} {words}"
        if self.borrowed:
            return f"python3 -m venv .venv && {python} -m pip install {words}"
        return (
            f"{python} -m pip install {words}"
            if any(self.folder.glob("pip*"))
            else (f"uv pip install --python {python} {words}")
        )


def find(folders: Sequence[Path], environ: Mapping[str, str] | None = None) -> Interpreter:
    """`.venv` of the first folder that has one, else that of $VIRTUAL_ENV, else the interpreter that runs this.

    SettingsError for a $VIRTUAL_ENV without a Python.
    """
    lookup = os.environ if environ is None else environ
    for folder in folders:
        python = folder / ".venv" / "bin" / "python"
        if python.exists():
            return Interpreter(python, "the project's virtualenv")
    active = lookup.get("VIRTUAL_ENV")
    if active:
        python = Path(active).absolute() / "bin" / "python"
        if not python.exists():
            raise SettingsError(
                f"VIRTUAL_ENV is {active}, which contains no bin/python",
                step="dev",
                hint="unset VIRTUAL_ENV, or create the virtualenv",
            )
        return Interpreter(python, "the active virtualenv")
    return Interpreter(Path(sys.executable), "deploy's own Python, since the project has no .venv", borrowed=True)
