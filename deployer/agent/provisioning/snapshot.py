"""What files of a host were before a run changed them, kept until the run has ended well or everything goes back."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.provisioning.changes import Change, FileState, look, restorer
from deployer.agent.provisioning.managed_files import Commands
from deployer.agent.system import files, tree

UNITS, POOLS = PARTS = ("units", "pools")
"""Of a host's files: those of its supervisor, and those of its balancer, which are kept and go back each by itself."""


class Snapshot:
    """One part of a host's files, as they were before a run.

    `{"run", "found": {path: {what, data, target, mode, owner}}, "handlers": {name: [argv, …]}}`, for root alone.

    `states` and `handlers` are empty where nothing is kept.
    """

    def __init__(self, site: Site, part: str) -> None:
        self._path = site.resources_before(part)
        self.run = ""
        self.states: dict[str, FileState] = {}
        self.handlers: dict[str, Commands] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                data = json.load(file)
        except (OSError, ValueError):
            return
        self.run, self.handlers = data["run"], data["handlers"]
        self.states = {path: _read(entry) for path, entry in data["found"].items()}

    def keep(self, run: str, steps: list[Change], handlers: dict[str, Commands]) -> None:
        """Before `steps` change it: what is there now. What the run has kept stays; what another left is forgotten."""
        if self.run != run:
            self.run, self.states, self.handlers = run, {}, {}
        now = {
            step.name: look(step.name) for step in steps if step.kind != "directory" and step.name not in self.states
        }
        if not now:
            return
        self.states = {**self.states, **now}
        self.handlers = {**self.handlers, **handlers}
        entries = {path: _written(state) for path, state in self.states.items()}
        data = json.dumps({"run": run, "found": entries, "handlers": self.handlers})
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        files.write(self._path, data.encode("utf-8"), 0o600)

    def back(self, *, new: bool = True) -> list[Change]:
        """What puts everything back as it was kept; each handler is notified by every step.

        `new` false: but for files that were not there before, for what runs by them may go on.
        """
        steps = []
        for path, state in self.states.items():
            now = look(path)
            if now != state and (new or state.what != "missing"):
                do, undo = restorer(path, state), restorer(path, now)
                steps.append(Change("file", path, "restore", do, "", tuple(self.handlers), undo, state.digest))
        return steps

    def forget(self) -> bool:
        """Nothing is kept any more; False if nothing was."""
        return tree.remove(self._path)


def _written(state: FileState) -> dict[str, Any]:
    data = base64.b64encode(state.data).decode("ascii")
    return {"what": state.what, "data": data, "target": state.target, "mode": state.mode, "owner": state.owner}


def _read(data: dict[str, Any]) -> FileState:
    content = base64.b64decode(data["data"])
    return FileState(data["what"], content, data["target"], data["mode"], (data["owner"][0], data["owner"][1]))
