"""What files of a host were before a run changed them, kept until the run has ended well or everything goes back."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from deployer.agent.model.layout import Site
from deployer.agent.provisioning.changes import Change, Found, look, restorer
from deployer.agent.provisioning.managed_files import Commands
from deployer.agent.system import files, tree

UNITS, POOLS = PARTS = ("units", "pools")
"""Of a host's files: those of its supervisor, and those of its balancer, which are kept and go back each by itself."""


class Snapshot:
    """One part of a host's files, as they were before a run.

    `{"run", "found": {path: {what, data, target, mode, owner}}, "handlers": {name: [argv, …]}}`, for root alone.

    `found` and `handlers` are empty where nothing is kept.
    """

    def __init__(self, site: Site, part: str) -> None:
        self._path = site.resources_before(part)
        self.run = ""
        self.found: dict[str, Found] = {}
        self.handlers: dict[str, Commands] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                data = json.load(file)
        except (OSError, ValueError):
            return
        self.run, self.handlers = data["run"], data["handlers"]
        self.found = {path: _read(each) for path, each in data["found"].items()}

    def keep(self, run: str, steps: list[Change], handlers: dict[str, Commands]) -> None:
        """Before `steps` change it: what is there now. What the run has kept stays; what another left is forgotten."""
        if self.run != run:
            self.run, self.found, self.handlers = run, {}, {}
        now = {step.name: look(step.name) for step in steps if step.kind != "directory" and step.name not in self.found}
        if not now:
            return
        self.found = {**self.found, **now}
        self.handlers = {**self.handlers, **handlers}
        found = {path: _written(each) for path, each in self.found.items()}
        data = json.dumps({"run": run, "found": found, "handlers": self.handlers})
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        files.write(self._path, data.encode("utf-8"), 0o600)

    def back(self, *, new: bool = True) -> list[Change]:
        """What puts everything back as it was kept; each handler is notified by every step.

        `new` false: but for files that were not there before, for what runs by them may go on.
        """
        steps = []
        for path, found in self.found.items():
            now = look(path)
            if now != found and (new or found.what != "missing"):
                do, undo = restorer(path, found), restorer(path, now)
                steps.append(Change("file", path, "restore", do, "", tuple(self.handlers), undo, found.digest))
        return steps

    def forget(self) -> bool:
        """Nothing is kept any more; False if nothing was."""
        return tree.remove(self._path)


def _written(found: Found) -> dict[str, Any]:
    data = base64.b64encode(found.data).decode("ascii")
    return {"what": found.what, "data": data, "target": found.target, "mode": found.mode, "owner": found.owner}


def _read(data: dict[str, Any]) -> Found:
    content = base64.b64decode(data["data"])
    return Found(data["what"], content, data["target"], data["mode"], (data["owner"][0], data["owner"][1]))
