"""One lane of the table: what stands behind one balancer under one supervisor, one cell after the other.

A lane has an app for each example. Another server is another release of the same app, so that a balancer learns of no
app while others are measured.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from support.inventories import inventory
from support.project import Done, Project
from support.traffic import traffic

from deployer.lab import Lab
from deployer.probe import Receipt
from table.cells import BALANCERS, INSTANCES, SERVERS, SUPERVISORS, Cell

PACKAGES = ["fastapi>=0.110", "flask>=3.0", "gunicorn>=22", "uvicorn>=0.30", "uvicorn-worker>=0.2", "websockets>=12"]
WEB = ("web1", "web2")
PATIENCE = 60.0  # seconds that a request may wait: without a balancer for as long as an app needs to end and to start
RATE = 10.0
WITHIN = 600.0


class Lane:
    """The apps of one supervisor behind one balancer on a lab; `balancer_host` is the one of that kind, if any."""

    def __init__(self, lab: Lab, folder: Path, supervisor: str, balancer: str, balancer_host: str | None) -> None:
        self.lab, self.folder = lab, folder
        self.supervisor, self.balancer, self.balancer_host = supervisor, balancer, balancer_host
        self.name = f"{supervisor}-{balancer}"
        behind = [balancer_host] if balancer_host else []
        hosts = WEB if balancer_host else WEB[:1]
        self.inventory = inventory(lab, folder / f"{self.name}.yaml", hosts, behind, balancer)
        self.apps: dict[str, Project] = {}
        self._states: dict[Project, tuple[str, bool]] = {}
        self._releases: defaultdict[Project, set[str]] = defaultdict(set)

    def set_up(self, cells: Sequence[Cell]) -> None:
        """Everything that the cells need beside releases: all apps are known to hosts and balancers afterwards."""
        for example in dict.fromkeys(SERVERS[cell.server].example for cell in cells):
            self.apps[example] = Project(self.folder / self._app(example), self.lab.name, example, lean=False)
            self._settings(next(cell for cell in cells if SERVERS[cell.server].example == example))
            self._deploy(self.apps[example], "setup")

    def measure(self, cell: Cell, commands: Sequence[str] = ()) -> dict[str, Any]:
        """Makes the cell's changes while users are there; only these commands, if any are named.

        Where the app runs on another server, or holds its port in another way, a push goes before them.

        Returns:
            what happened, as JSON data: `failed` and `stale` of `requests`, latencies in ms, the changes.
        """
        project, state = self.apps[SERVERS[cell.server].example], (cell.server, cell.topology().holds_ports)
        commands = commands or cell.commands
        self._settings(cell)
        releases = self._releases[project]
        if self._states.get(project) != state:
            project.version(f"{cell.name} {time.time()}")
            first = "auto" if cell.strategy == "reload" else cell.strategy
            releases.add(self._deploy(project, "push", "--strategy", first, "--waves", str(INSTANCES)).release)
            self._states[project] = state
        log = self.folder / f"{project.folder.name}-{time.time():.0f}.log"
        changes, began = 0, time.monotonic()
        mix, header = SERVERS[cell.server].mix, f"{project.folder.name}.test"
        with traffic(self._address(project), log, mix=mix, rate=RATE, host_header=header, limit=PATIENCE) as users:
            for number, command in enumerate(commands):
                users.prober.mark(f"{command} {number}")
                done = self._change(project, cell, command)
                releases.add(done.release)
                changes += sum(map(len, done.of("plan.made")[-1]["plan"]["waves"]))
        assert users.receipt is not None
        strangers = set(users.receipt.releases) - releases - {""}
        assert not strangers, f"{cell.name}: releases that nobody proved answered: {strangers}"
        seconds = (time.monotonic() - began) / changes
        return {"changes": changes, "commands": Counter(commands), **_told(users.receipt, seconds)}

    def _change(self, project: Project, cell: Cell, command: str) -> Done:
        if command == "push":
            project.version(f"{cell.name} {time.time()}")
        done = self._deploy(project, command, "--strategy", cell.strategy)
        planned = done.of("plan.made")[-1]["plan"]["strategy"]
        assert (done.last["outcome"], planned) == ("succeeded", cell.strategy), done.summary
        return done

    def _deploy(self, project: Project, *args: str) -> Done:
        return project.deploy(*args, "-i", str(self.inventory), within=WITHIN)

    def _app(self, example: str) -> str:
        return f"{example}-{self.name}"

    def _settings(self, cell: Cell) -> None:
        example = SERVERS[cell.server].example
        number = SUPERVISORS.index(self.supervisor) * len(BALANCERS) + BALANCERS.index(self.balancer)
        project = self.apps[example]
        project.settings(
            {
                "app": self._app(example),
                "domains": [f"{self._app(example)}.test"] if self.balancer_host else [],
                "port": 8300 + 10 * number + 100 * (example == "notes"),
                "supervisor": self.supervisor,
                "python": {"with": PACKAGES},
                "runtime": {**SERVERS[cell.server].runtime, "graceful_timeout": "5s"},
                "health": {"within": "120s"},
                "instances": INSTANCES // len(WEB) if self.balancer_host else 1,
                "rolling": {
                    "strategy": cell.strategy,
                    "drain_timeout": "2s",
                    "soak": "500ms",
                    "waves": [2],
                    "max_unavailable": INSTANCES,
                },
            }
        )

    def _address(self, project: Project) -> str:
        if self.balancer_host:
            return f"{self.lab.hosts[self.balancer_host]['host']}:80"
        port = YAML(typ="safe").load((project.folder / "deploy.yaml").read_text())["port"]
        return f"{self.lab.hosts['web1']['host']}:{port}"


def _told(receipt: Receipt, seconds: float) -> dict[str, Any]:
    return {
        "requests": receipt.requests,
        "failed": receipt.failed,
        "stale": receipt.stale,
        "told": receipt.told,
        "p50_ms": receipt.p50_ms,
        "p99_ms": receipt.p99_ms,
        "max_ms": receipt.max_ms,
        "seconds_a_change": round(seconds, 1),
        "causes": dict(receipt.causes),
        "kinds": json.loads(json.dumps(receipt.kinds)),
        "examples": [f"{failure.kind}: {failure.what}" for failure in receipt.failures[:5]],
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
    }
