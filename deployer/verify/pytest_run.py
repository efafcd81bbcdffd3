"""Runs pytest so that only the checks and the conftest files beside them count: no settings or plugins come in."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

# Plugins that write files, print, or change how the process handles signals and warnings.
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
    """Run the check `files`, all below `folder`, and return pytest's exit status.

    Only `conftest.py` files in `folder` and below count; the caller's settings, environment and plugins do not. Changes
    this process for good, so it is for a process that ends afterwards.
    """
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = True  # a user's work tree stays clean
    options = [f"--rootdir={folder}", f"--confcutdir={folder}", "-c", os.devnull, "--import-mode=importlib"]
    options += ["--capture=no", "--continue-on-collection-errors"]
    for name in _WITHOUT:
        options += ["-p", f"no:{name}"]
    return int(pytest.main([*options, *map(str, files)], plugins=list(plugins)))
