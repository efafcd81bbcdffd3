"""What is true of one app in a lab of machines, seen past SSH: the balancer's own word, locks, links and ledgers."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.lab import Lab

MARKER = ".deploy-release.json"
_ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as haproxy:
    haproxy.connect("/run/haproxy/deploy.sock")
    haproxy.sendall(sys.argv[1].encode() + b"\\n")
    while data := haproxy.recv(65536):
        sys.stdout.write(data.decode())
"""


@dataclass(frozen=True)
class Recovered:
    """Seconds from an accident until every instance served again, and until nobody held a lock.

    `bound`: what the watchdog had been told when it happened, in seconds; 0 when there was none.
    """

    served: float
    unlocked: float
    bound: float


@dataclass(frozen=True)
class Truth:
    """One app, on all hosts of a lab."""

    lab: Lab
    app: str

    def pool(self) -> dict[str, str]:
        """HAProxy's own word for every server in use: `UP`, `DOWN`, `DRAIN` …"""
        done = self.lab.exec("lb1", ["python3", "-c", _ASK, f"show stat {self.app}-{self.lab.name} 4 -1"])
        rows = csv.DictReader(io.StringIO(done.stdout.lstrip("# ")))
        states = {row["svname"]: row["status"] for row in rows}
        assert states, (done.stdout, done.stderr)
        return {name: state for name, state in states.items() if not state.startswith("MAINT")}

    def serving(self) -> bool:
        """Whether the balancer sends requests to every server."""
        return all(state == "UP" for state in self.pool().values())

    def held(self) -> dict[str, dict[str, Any]]:
        """The records of what is out of the pool."""
        try:
            found: dict[str, dict[str, Any]] = json.loads((self.site("lb1") / ".deploy/drained.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def locked(self) -> list[str]:
        """The hosts on which somebody holds the app's lock."""
        return [host for host in self.lab.hosts if self._is_locked(host)]

    def ledger(self, host: str) -> list[dict[str, Any]]:
        """The host's ledger, oldest first."""
        try:
            text = (self.site(host) / ".deploy/ledger.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def reached(self, host: str, run: str, state: str) -> bool:
        """Whether the host's switch of this run has come as far as `state` (stop, link, start, undo)."""
        return any(line["run"] == run and line.get("state") == state for line in self.ledger(host))

    def holder(self, host: str) -> int:
        """The pid, on the host, of who holds or held the lock there."""
        return int(json.loads((self.site(host) / ".deploy/lock").read_text())["pid"])

    def current(self, host: str) -> str:
        """The release that `current` points at."""
        return os.readlink(self.site(host) / "current").split("/")[-1]

    def incomplete(self) -> list[str]:
        """The links of all hosts (`current`, `slots/*`) that do not lead to a complete release."""
        found = []
        for host in self.lab.hosts:
            site = self.site(host)
            for link in [site / "current", *(site / "slots").glob("*")]:
                if link.is_symlink() and not (site / "releases" / os.readlink(link).split("/")[-1] / MARKER).is_file():
                    found.append(f"{host} {link}")
        return found

    def leftovers(self) -> list[str]:
        """Watchdogs and agents of the app that are still there."""
        files = [str(path) for path in (self.site("lb1") / ".deploy").glob("watchdog-*")]
        units = self.lab.exec(
            "lb1", ["systemctl", "list-units", "--plain", "--no-legend", f"deploy-watchdog-{self.app}-*"]
        )
        return files + units.stdout.split()

    def bound(self, run: str) -> float:
        """The seconds that a run's watchdog waits for its agent, as it was told last; 0 when there is none."""
        try:
            return float(json.loads((self.site("lb1") / f".deploy/watchdog-{run}.json").read_text())["bound"])
        except FileNotFoundError:
            return 0.0

    def recovers(self, run: str, since: float, slack: float) -> Recovered:
        """Waits until everything serves, nothing is held and nobody has a lock.

        Fails when it takes longer than the watchdog's bound and `slack` seconds after `since`. At every look: who is
        out of the pool has a record that says why.
        """
        served = unlocked = bound = 0.0
        while not (served and unlocked):
            bound = max(bound, self.bound(run))
            records = self.held()
            pool = self.pool()
            unexplained = [name for name, state in pool.items() if state.startswith("DRAIN") and name not in records]
            assert not unexplained or self._settles(unexplained), f"{unexplained} drained without a record"
            took = round(time.monotonic() - since, 1)
            if all(state == "UP" for state in pool.values()) and not self._of_runs(records):
                served = served or took
            locked = self.locked()
            if served and not locked:
                unlocked = took
            assert took < bound + slack, f"after {took} s of {bound} + {slack}: {pool}, held {records}, locked {locked}"
            time.sleep(0.5)
        return Recovered(served, unlocked, bound)

    @staticmethod
    def _of_runs(records: dict[str, dict[str, Any]]) -> list[str]:
        return [name for name, record in records.items() if record["by"] == "run"]

    def _settles(self, names: list[str]) -> bool:
        """Balancer and record change one after the other: looked at once more."""
        time.sleep(0.5)
        records, pool = self.held(), self.pool()
        return all(name in records or not pool[name].startswith("DRAIN") for name in names)

    def _is_locked(self, host: str) -> bool:
        path = self.site(host) / ".deploy/lock"
        if not path.exists():
            return False
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def site(self, host: str) -> Path:
        """The app's folder on a host, as this machine sees it."""
        return Path(self.lab.folder) / "hosts" / host / "srv" / self.app
