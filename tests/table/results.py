"""What was measured, by cell, in a file beside this one: a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("results.json")


class Results:
    """The file's content. `cells` maps a cell's name to what was measured, `made` tells with what."""

    def __init__(self, path: Path = PATH) -> None:
        self._path = path
        self._lock = threading.Lock()
        data = json.loads(path.read_text()) if path.exists() else {"made": {}, "cells": {}}
        self.made: dict[str, Any] = data["made"]
        self.cells: dict[str, dict[str, Any]] = data["cells"]

    def made_with(self, made: Mapping[str, Any]) -> None:
        """Notes the versions and the machine."""
        with self._lock:
            self.made = dict(made)
            self._write()

    def add(self, name: str, result: Mapping[str, Any]) -> None:
        """Notes a cell; from any thread."""
        with self._lock:
            self.cells[name] = dict(result)
            self._write()

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        lines = [f"  {json.dumps(name)}: {json.dumps(self.cells[name])}" for name in sorted(self.cells)]
        new.write_text(f'{{"made": {json.dumps(self.made, indent=2)},\n"cells": {{\n' + ",\n".join(lines) + "\n}}\n")
        os.replace(new, self._path)
