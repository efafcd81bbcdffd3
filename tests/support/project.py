"""A user's project in a git work tree, deployed by the real command line in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from support.answers import require_described

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """One finished `deploy` command: its exit status, its JSON lines, what it wrote to stderr."""

    exit: int
    events: list[dict[str, Any]]
    stderr: str

    @property
    def last(self) -> dict[str, Any]:
        """`run.finished`."""
        return self.events[-1]

    @property
    def release(self) -> str:
        return str(self.last["release"])

    @property
    def error(self) -> dict[str, Any]:
        """The error of the last event; fails the test when there is none."""
        assert self.last["error"], self.summary
        return dict(self.last["error"])

    def of(self, event: str) -> list[dict[str, Any]]:
        """All events of one name."""
        return [each for each in self.events if each["event"] == event]

    @property
    def summary(self) -> str:
        """What a failing test shows."""
        lines = [json.dumps(event) for event in self.events[-12:]]
        return "\n".join([f"exit {self.exit}", *lines, self.stderr[-3000:]])


class Project:
    """A copy of an example app with settings of the test's own, committed to git."""

    def __init__(
        self,
        folder: Path,
        env: str,
        example: str = "shop",
        settings: dict[str, Any] | None = None,
        lean: bool = True,
    ) -> None:
        """Copies a folder of `examples/`; `lean`: with the files that `tests/apps` has for it, which start faster."""
        self.folder = folder
        self.env = env
        without_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "examples" / example, folder, ignore=without_caches)
        replacements = REPOSITORY / "tests/apps" / example
        if lean and replacements.is_dir():
            shutil.copytree(replacements, folder, ignore=without_caches, dirs_exist_ok=True)
        self._git("init", "-q", "-b", "main")
        self.settings(settings or {})
        self.commit("the first version")

    def settings(self, changes: dict[str, Any]) -> None:
        """Lays `changes` over deploy.yaml (top-level keys)."""
        yaml = YAML(typ="safe")
        path = self.folder / "deploy.yaml"
        data = yaml.load(path.read_text()) | changes
        with path.open("w") as out:
            yaml.dump(data, out)

    def commit(self, message: str, **files: str) -> str:
        """Writes `files` (name with `__` for a dot → content, empty to delete), commits all; returns the commit."""
        for name, content in files.items():
            path = self.folder / name.replace("__", ".")
            if content:
                path.write_text(content)
            else:
                path.unlink()
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", message)
        return self._git("rev-parse", "HEAD")

    def version(self, number: int | str) -> str:
        """A new version: a file that every release has, with other content."""
        return self.commit(f"version {number}", VERSION=f"{number}\n")

    def breaks(self, how: str) -> str:
        """A version that fails in the way that the example's breakage.py knows by this word."""
        return self.commit(f"breaks: {how}", BREAK=f"{how}\n")

    def mends(self) -> str:
        """The version after the broken one."""
        return self.commit("mended", BREAK="")

    def command(self, *args: str) -> list[str]:
        """The words of a `deploy` command with JSON lines, ENV put after the command's name."""
        return [sys.executable, "-m", "deployer", args[0], self.env, *args[1:], "--output", "json"]

    def start(self, *args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts a `deploy` command in a process group of its own."""
        return subprocess.Popen(
            self.command(*args),
            cwd=self.folder,
            env={**os.environ, **self._own_state, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def deploy(
        self, *args: str, expect: int | None = 0, within: float = 240.0, env: dict[str, str] | None = None
    ) -> Done:
        """Runs a `deploy` command to its end and asserts its exit status (None: any)."""
        process = self.start(*args, env=env)
        try:
            out, err = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(
                f"deploy {' '.join(args)} took more than {within} s\n{out[-3000:]}\n{err[-3000:]}"
            ) from None
        done = Done(process.returncode, [json.loads(line) for line in out.splitlines() if line.startswith("{")], err)
        if done.events and done.last["event"] == "run.finished":
            require_described(args[0], done.last)
        if expect is not None:
            assert done.exit == expect, done.summary
            assert done.last["exit_status"] == expect, done.summary
        return done

    def show(self, *args: str, expect: int | None = 0, within: float = 240.0, env: dict[str, str] | None = None) -> str:
        """What a `deploy` command shows people: its lines, without the time of day and the column of the host."""
        command = [*self.command(*args)[:-1], "plain"]
        given = {**os.environ, **self._own_state, **(env or {})}
        done = subprocess.run(command, cwd=self.folder, env=given, capture_output=True, text=True, timeout=within)
        if expect is not None:
            assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
        lines = (line[9:] for line in done.stdout.splitlines())
        return "\n".join(line.partition(" │ ")[2] if " │ " in line else line for line in lines)

    @property
    def _own_state(self) -> dict[str, str]:
        """Runs are noted beside the project, and not with those of this machine's user."""
        return {"XDG_STATE_HOME": str(self.folder.parent / f"{self.folder.name}-state")}

    def _git(self, *args: str) -> str:
        who = ["-c", "user.name=tests", "-c", "user.email=tests@example.invalid"]
        done = subprocess.run(["git", *who, *args], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()
