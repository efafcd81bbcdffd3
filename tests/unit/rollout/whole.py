"""A scripted fleet for whole commands: `deploy push prod` in this process, with `World` in place of the hosts.

Responses and errors pass the same checks as those of real agents (`Session`).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from scripted import OLD, World, label
from support.topologies import topology
from typer.testing import CliRunner

from deployer import verify
from deployer.cli.app import app
from deployer.plan.topology import Topology
from deployer.remote.errors import AgentError
from deployer.remote.fleet import Fleet
from deployer.remote.messages.responses import UnexpectedResponse, require_expected, require_expected_detail
from deployer.rollout.queries import status
from deployer.rollout.rolling import final_state
from deployer.verify import Verification

Change = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""Takes host, operation and response; returns the response that arrives."""

HEALTH = {"path": "/healthz", "status": 200, "host": "", "headers": {}, "https": False, "within": 30.0, "timeout": 5.0}


class Hosts(World):
    """Two web hosts and a balancer, set up and serving `OLD`; `OLDER` was proven before it.

    `calls` are the operations that were called, in order. `change` changes each response on its way; `rejected` are the
    operations whose responses were refused for it, and `answered` those that went well since.
    """

    OLDER = "20230101T000000Z-cccccccc"

    def __init__(self, shape: Topology | None = None, release: str | None = OLD) -> None:
        super().__init__(shape or topology(2, 1), release)
        self.calls: list[tuple[str, str]] = []
        self.change: Change = lambda host, operation, value: value
        self.built: set[tuple[str, str]] = set()
        self.ledger: list[dict[str, Any]] = []
        self.holder: str | None = None
        self.secrets_differ = False
        self.unwritable: dict[str, list[dict[str, str]]] = {}
        self.failures: dict[str, Any] = {}
        self.answered: list[tuple[str, str]] = []
        self.rejected: list[tuple[str, str]] = []

    # -- what `Fleet` is to a run -----------------------------------------------------------------------------------

    def __getitem__(self, host: str) -> Any:
        return Session(self, host)

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def call(self, host: str, operation: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((host, operation))
        try:
            value = super().call(host, operation, args)
        except AgentError as error:
            changed = self.change(host, operation, {"detail": error.detail})
            require_expected_detail(host, operation, error.code, changed.get("detail") or {})
            raise
        value = self.change(host, operation, value)
        self.answered.append((host, operation))
        try:
            return require_expected(host, operation, args, value)
        except UnexpectedResponse:
            self.answered.clear()
            self.rejected.append((host, operation))
            raise

    # -- operations that only whole commands need ---------------------------------------------------------------------

    def host_survey(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        balances = host in self.pools
        standing = {
            "user": "root",
            "exists": True,
            "writable": True,
            "owner": {"app": "shop", "env": "prod"},
            "frozen": None,
            "lock": self._lock_holder(),
            "adoption": None,
        }
        if args.get("brief"):
            return standing
        known = [self.OLDER, OLD, *sorted({release for name, release in self.built if name == host})]
        slots = {} if balances else self._slots(host)
        return {
            **standing,
            "hostname": host,
            "os": {"id": "debian", "version": "12"},
            "arch": "x86_64",
            "libc": "glibc 2.36",
            "uid": 0,
            "python": {"version": "3.11.2", "path": "/usr/bin/python3"},
            "init": "systemd",
            "cores": 2,
            "memory": 4 << 30,
            "mem_available": 3 << 30,
            "limits": {"host": {"cores": None, "memory": None}, "unit": {"cores": 1.5, "memory": None}},
            "boot_id": "0",
            "uptime": 1000.0,
            "tools": {"uv": None, "systemctl": "/usr/bin/systemctl", "cron": "/usr/sbin/cron"},
            "pythons": {"3.11": "/usr/bin/python3.11"},
            "free_bytes": 50 << 30,
            "unwritable": self.unwritable.get(host, []),
            "user_exists": True,
            "foreign": None,
            "sources": dict.fromkeys(args.get("peers", ()), "192.0.2.101"),
            "ports": {str(port): None for port in args["ports"]},
            "current": None if balances else self.current[host],
            "releases": [] if balances else [self._release(name) for name in known],
            "slots": slots,
            "processes": {},
            "schedules": {},
            "half_done": [],
        }

    def _slots(self, host: str) -> dict[str, str]:
        web = self.topology.web_host(host)
        named = {port: self.serving[self.topology.server(host, port)] for port in (*web.ports, *web.spare_ports)}
        return {str(port): release for port, release in named.items() if release}

    def _release(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "complete": True,
            "proven": True,
            "withdrawn": False,
            "content": f"content of {name}",
            "start_sha": "s",
            "run_sha": "r",
            "venv": "v",
            "bind": "port",
            "commit": "0" * 40,
            "created": 1700000000,
            "origin": None,
            "health": HEALTH,
            "asked": self.topology.health_check_digest,
            "processes": [],
            "damage": "",
            "repairable": False,
            "resolution": None,
        }

    def lock_take(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if self.holder not in (None, args["run"]):
            detail = {**(self._lock_holder() or {}), "who": "ana@ci"}
            raise AgentError("locked", "shop is locked", detail=detail, host=host)
        self.holder = args["run"]
        self.ledger.append({"ts": 2.0, "event": "begun", "run": args["run"], "who": args["who"], "command": "push"})
        return {"taken": True}

    def _lock_holder(self) -> dict[str, Any] | None:
        if self.holder is None:
            return None
        about = {"who": "me@here", "run": self.holder, "command": "push", "since": 1.0, "pid": 100}
        return {**about, "lost": None, "until": None, "silent": None}

    def lock_release(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        held, self.holder = self.holder is not None, None
        return {"released": held}

    def lock_asked(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"by": None}

    def site_note_begin(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        about = ("run", "who", "command", "release")
        self.ledger.append({"ts": 2.0, "event": "begun", **{key: args[key] for key in about}})
        return {}

    def site_note_end(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        about = ("run", "who", "command", "release", "outcome", "why", "duration_s")
        self.ledger.append({"ts": 3.0, "event": "ended", **{key: args[key] for key in about}})
        return {}

    def site_note_plan(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def site_plan(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"run": "r0", "plan": {"command": "push", "release": OLD}, "ended": True}

    def site_ledger(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"entries": self.ledger, "lock": None}

    def balancer_recover(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"admitted": [], "held_again": []}

    def resource_settle(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"changed": False}

    def command_run(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"exit": 0, "signal": None, "stdout": "", "stderr": ""}

    def venv_inspect(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        about = {"implementation": "cpython", "abi": "cp311", "arch": "x86_64", "libc": "glibc 2.36"}
        return {"path": "/usr/bin/python3", "version": "3.11.2", **about}

    def secrets_digest(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"key": "k", "digest": hmac.new(b"k", b"other" if self.secrets_differ else b"", "sha256").hexdigest()}

    def secrets_write(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"changed": self.secrets_differ}

    def release_marker(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"marker": {"files": "f", "requirements": [], "resolution": None}}

    def release_begin(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"complete": False, "missing": [], "missing_bytes": 0, "reused": 3}

    def release_build(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.built.add((host, args["release"]))
        return {"built": True, "venv_built": args["venv"]["installer"] != "none", "seconds": 0.1}

    def release_prune(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        weight = {"bytes": 54_100_000, "inodes": 1204} if args.get("weigh") else {}
        return {"removed": [self.OLDER], "venvs": ["v1"], "failed": {}, **weight}

    def processes_state(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"processes": {name: self._process(host, name) for name in map(label, args["processes"])}}

    def _process(self, host: str, name: str) -> dict[str, Any]:
        release = self.processes.get((host, name), self.release)
        return {
            "release": release,
            "running": bool(release),
            "pid": 100 if release else 0,
            "why": "" if release else "-",
        }

    def schedules_state(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        times = {"pid": None, "next": 1800000000, "began": 1700000000, "ended": 1700000009, "result": "succeeded"}
        return {"schedules": {one["name"]: {"release": OLD, "why": "", **times} for one in args["schedules"]}}

    def tls_presented(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"certificates": {name: {"pem": None, "why": "refused"} for name in args["names"]}}

    def secrets_settle(self, host: str, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"changed": False}


class Session:
    """One host's session as `Run` and `Fleet.run_on_hosts` use it."""

    def __init__(self, world: Hosts, host: str) -> None:
        self._world, self._host = world, host
        self.lost = None

    def call(self, operation: str, args: Mapping[str, Any], *, body: Any = None, **_: Any) -> dict[str, Any]:
        if body is not None and not isinstance(body, bytes):
            for _chunk in body:
                pass
        return self._world.call(self._host, operation, args)

    def fresh_for(self) -> float:
        return 0.0


class Commands:
    """The command line in a project of one app, with `hosts` behind it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts = Hosts()
        (folder / "main.py").write_text("from fastapi import FastAPI\n\napp = FastAPI()\n")
        (folder / "requirements.txt").write_text("fastapi==0.115.0\nuvicorn==0.30.0\n")
        (folder / "deploy.yaml").write_text(
            "app: shop\ndomains: [shop.example.com]\nhealth: {path: /healthz}\npython: {installer: none}\n"
            "rolling: {soak: 0s, drain_timeout: 1s}\n"
        )
        (folder / "inventories").mkdir()
        web = "web: {hosts: {web1: {ansible_host: 192.0.2.1}, web2: {ansible_host: 192.0.2.2}}}\n"
        (folder / "inventories/prod.yaml").write_text(web + "balancers: {hosts: {lb1: {ansible_host: 192.0.2.101}}}\n")
        monkeypatch.chdir(folder)
        monkeypatch.setattr(Fleet, "open", lambda *_, **__: self.hosts)
        monkeypatch.setattr(final_state, "SETTLE_S", 0.0)
        monkeypatch.setattr(status, "_CHECKED_S", 0.0)
        monkeypatch.setattr(verify, "run", lambda *_, **__: Verification(()))

    def fresh(self) -> None:
        """Hosts as they were in the beginning."""
        self.hosts = Hosts()

    def run(self, *words: str, output: str = "json") -> Any:
        """Runs `deploy`; returns what the runner has seen."""
        return CliRunner().invoke(app, [*words, "--output", output])

    def closing(self, *words: str) -> dict[str, Any]:
        """The closing event of a command."""
        result = self.run(*words)
        end: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        assert end["event"] == "run.finished" and "Traceback" not in result.stderr, result.stderr
        return end
