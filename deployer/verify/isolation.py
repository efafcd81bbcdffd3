"""Runs pytest inside this process so that neither notices the other: no settings come in, nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

# pytest keeps state a process (environment, assertion hooks, modules): one run at a time, from whichever thread.
_ONE_AT_A_TIME = threading.Lock()

# Plugins that touch the process (signals, hooks, warnings, log handlers), write files or print.
_WITHOUT = (
    "terminal",
    "cacheprovider",
    "stepwise",
    "faulthandler",
    "debugging",
    "logging",
    "warnings",
    "unraisableexception",
    "threadexception",
    "doctest",
    "junitxml",
    "pastebin",
)


def run_pytest(folder: Path, files: Sequence[Path], plugins: Sequence[object]) -> int:
    """Runs the check `files`, all below `folder`, and returns pytest's exit status.

    Only `conftest.py` files in `folder` and below count; the caller's settings, environment and plugins do not.
    """
    options = [f"--rootdir={folder}", f"--confcutdir={folder}", "-c", os.devnull, "--import-mode=importlib"]
    options += ["--capture=no", "--continue-on-collection-errors"]
    for name in _WITHOUT:
        options += ["-p", f"no:{name}"]
    with _ONE_AT_A_TIME, _environment(), _modules(folder, files), _no_bytecode():
        return int(pytest.main([*options, *map(str, files)], plugins=list(plugins)))


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    for name in before:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _modules(folder: Path, files: Sequence[Path]) -> Iterator[None]:
    """Check files are imported afresh, whatever modules of the same names there are, and forgotten afterwards."""
    names = {".".join(file.relative_to(folder).with_suffix("").parts) for file in files} | {"conftest"}
    before = set(sys.modules)
    hidden: dict[str, Any] = {name: sys.modules.pop(name) for name in names & before}
    try:
        yield
    finally:
        for name in [name for name, module in list(sys.modules.items()) if _lies_in(module, folder)]:
            if name not in before or name in names:
                del sys.modules[name]
        sys.modules.update(hidden)


def _lies_in(module: Any, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and folder in Path(file).parents


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    """No `__pycache__` appears in a user's checks: their work tree stays clean."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
