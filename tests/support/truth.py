"""What is true of one app in a lab of machines, seen past SSH: the balancer's own word, locks, links and ledgers."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.lab import Lab
from deployer.lab.machines.machine import Machine
from deployer.lab.place import Place

MARKER = ".deploy-release.json"
HAPROXY = "run/haproxy/deploy.sock"
RUN_ENDS = 240.0  # seconds in which a run that lost a host comes to its end


@dataclass(frozen=True)
class Recovered:
    """Seconds from an accident until every instance served again, and until nobody held a lock.

    `bound`: what the watchdog had been told when it happened, in seconds; 0 when there was none. `ended`: seconds until
    the run was over, where it went on.
    """

    served: float
    unlocked: float
    bound: float
    ended: float = 0.0


@dataclass(frozen=True)
class Truth:
    """One app, on all hosts of a lab."""

    lab: Lab
    app: str

    def pool(self) -> dict[str, str]:
        """HAProxy's own word for every server in use: `UP`, `DOWN`, `DRAIN` …"""
        init = Machine(Place(self.lab.name, Path(self.lab.folder)), "lb1").init
        said = b""
        with socket.socket(socket.AF_UNIX) as haproxy:
            haproxy.connect(f"/proc/{init}/root/{HAPROXY}")
            haproxy.sendall(f"show stat {self.app}-{self.lab.name} 4 -1\n".encode())
            while data := haproxy.recv(65536):
                said += data
        states = {row["svname"]: row["status"] for row in csv.DictReader(io.StringIO(said.decode().lstrip("# ")))}
        assert states, said
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

    def recovers(
        self, run: str, since: float, slack: float, *, over: Callable[[], bool] = lambda: True, lost: str = ""
    ) -> Recovered:
        """Waits until everything serves, nothing is held and nobody has a lock.

        Fails when it takes longer than the watchdog's bound and `slack` seconds after `since`, or `slack` seconds after
        the run was `over` where that is later. At every look: who is out of the pool has a record that says why. The
        instances of the host `lost` may be in quarantine.
        """
        served = unlocked = bound = ended = 0.0
        while not (served and unlocked):
            bound = max(bound, self.bound(run))
            records = self.held()
            pool = self.pool()
            unexplained = [name for name, state in pool.items() if state.startswith("DRAIN") and name not in records]
            assert not unexplained or self._settles(unexplained), f"{unexplained} drained without a record"
            took = round(time.monotonic() - since, 1)
            ended = ended or (took if over() else 0.0)
            out = [
                name
                for name, state in pool.items()
                if state != "UP" and not _is_out(records, name, lost) and not _is_retired(pool, name)
            ]
            if ended and not out and not self._of_runs(records):
                served = served or took
            locked = self.locked()
            if served and not locked:
                unlocked = took
            limit = max(bound, ended) + slack if ended else RUN_ENDS
            assert took < limit, f"after {took} s of {limit}, bound {bound}: {pool}, held {records}, locked {locked}"
            time.sleep(0.5)
        return Recovered(served, unlocked, bound, ended)

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


def _is_retired(pool: dict[str, str], name: str) -> bool:
    """Whether it is the slot of before in blue/green, which was stopped when its successor served.

    A watchdog that fires admits it again, and the balancer's own check keeps users away.
    """
    host = name.rpartition("-")[0]
    return pool[name] == "DOWN" and any(
        state == "UP" for other, state in pool.items() if other.rpartition("-")[0] == host and other != name
    )


def _is_out(records: dict[str, dict[str, Any]], name: str, host: str) -> bool:
    return name.startswith(f"{host}-") and records.get(name, {}).get("by") == "quarantine"
