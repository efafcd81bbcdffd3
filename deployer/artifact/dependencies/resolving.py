"""Loose requirements resolved once, here, for the Python and platform of the hosts; cached by the request."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer import local_program
from deployer.agent.dependencies import pip_settings
from deployer.agent.model.failure import unfitting
from deployer.agent.system.process_runner import Finished
from deployer.artifact.dependencies.host_python import HostPython
from deployer.artifact.dependencies.uv_binary import uv_here

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Resolution:
    """A question: exact versions for `loose` within `constraints`, on `host`. `options` name indexes."""

    loose: tuple[str, ...]
    options: tuple[str, ...]
    constraints: tuple[str, ...]
    host: HostPython

    @property
    def digest(self) -> str:
        """The question as a name for its answer."""
        host = self.host
        platform = [host.version, host.implementation, host.arch, host.libc]
        text = json.dumps([self.loose, self.options, self.constraints, platform])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def keep(self, cache: Path, answer: str) -> str:
        """Keep an answer for the next run; the text to install, index options included."""
        pinned = [line.strip() for line in answer.splitlines() if line.strip() and line.strip()[0] not in "#-"]
        text = "".join(line + "\n" for line in (*self.options, *pinned))
        cache.mkdir(parents=True, exist_ok=True)
        fresh = cache / f"{self.digest}.{os.getpid()}"
        fresh.write_text(text, "utf-8")
        fresh.replace(cache / f"{self.digest}.txt")
        return text


@dataclass(frozen=True)
class Answer:
    """`text` is pinned requirements, or None when it could not be found here, and `reason` why. `by`: uv or pip."""

    text: str | None
    by: str = ""
    reason: str = ""


def remembered(resolution: Resolution, cache: Path) -> tuple[str, int] | None:
    """Return the answer that was kept for this very question, and when, in seconds since the epoch; None if
    none was."""
    file = cache / f"{resolution.digest}.txt"
    try:
        return file.read_text("utf-8"), int(file.stat().st_mtime)
    except FileNotFoundError:
        return None


def resolve(resolution: Resolution, environ: Mapping[str, str]) -> Answer:
    """Ask uv, which answers for any platform, else this interpreter's pip where it is of the same kind.

    Args:
        environ: `python.env` and the values of `python.secrets`.
    """
    uv = find_uv()
    with tempfile.TemporaryDirectory(prefix="deploy-resolve-") as name:
        folder = Path(name)
        (folder / "wanted.txt").write_text("\n".join((*resolution.options, *resolution.loose)) + "\n", "utf-8")
        (folder / "settled.txt").write_text("\n".join(resolution.constraints) + "\n", "utf-8")
        if uv:
            return _by_uv(uv, resolution, folder, environ)
        if not resolution.host.same_as_here:
            return Answer(None, reason="neither uv nor a Python of the hosts' kind is on this machine")
        if importlib.util.find_spec("pip") is None:
            return Answer(None, reason="neither uv nor pip is installed on this machine")
        return _by_pip(folder, environ)


def find_uv() -> str | None:
    """uv on this machine: the one installed beside this program, else one in PATH."""
    own = uv_here()
    return str(own.path) if own else shutil.which("uv")


def _by_uv(uv: str, resolution: Resolution, folder: Path, environ: Mapping[str, str]) -> Answer:
    host = resolution.host
    argv = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "-c", "settled.txt", "wanted.txt"]
    argv += ["--python", sys.executable, "--python-version", host.version, "--python-platform", host.uv_platform]
    complete = {**os.environ, **environ}
    argv += pip_settings.options_for_uv(complete)
    done = _run(argv, folder, {**complete, **pip_settings.for_uv(complete)})
    return _answer(done, "uv", done.stdout)


def _by_pip(folder: Path, environ: Mapping[str, str]) -> Answer:
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-input"]
    done = _run([*argv, "--report", "report.json", "-c", "settled.txt", "-r", "wanted.txt"], folder, environ)
    lines = []
    if done.ok:
        for item in json.loads((folder / "report.json").read_text("utf-8"))["install"]:
            lines.append(_pinned(item["metadata"], item))
    return _answer(done, "pip", "\n".join(sorted(lines)))


def _pinned(metadata: Mapping[str, str], item: Mapping[str, object]) -> str:
    name, info = metadata["name"], item.get("download_info")
    if item.get("is_direct") and isinstance(info, Mapping):
        vcs = info.get("vcs_info")
        if isinstance(vcs, Mapping):
            return f"{name} @ {vcs['vcs']}+{info['url']}@{vcs['commit_id']}"
        return f"{name} @ {info['url']}"
    return f"{name}=={metadata['version']}"


def _answer(done: Finished, by: str, text: str) -> Answer:
    if done.ok:
        return Answer(text, by)
    if done.timed_out:
        return Answer(None, by, f"{by} on this machine failed: no answer within {_TIMEOUT_S:g} s")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last = unfitting(lines) or (lines[-1].strip() if lines else done.why)
    return Answer(None, by, f"{by} on this machine failed: {last}")


def _run(argv: list[str], folder: Path, environ: Mapping[str, str]) -> Finished:
    return local_program.run(argv, timeout=_TIMEOUT_S, cwd=folder, env={**os.environ, **environ})
