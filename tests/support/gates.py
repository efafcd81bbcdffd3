"""An app in service, and pushes of it that are to end at a gate, with all that they have to say looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deployer.lab import Lab
from support.project import Done, Project

WEB = ("web1", "web2", "web3")
FRESH = "web4"
SETTINGS: dict[str, Any] = {
    "runtime": {"workers": 2, "graceful_timeout": "3s"},
    "health": {"within": "20s"},
    "rolling": {"drain_timeout": "2s", "soak": "4s", "waves": [1, 2], "max_unavailable": 2},
}
UNIT = "shop@8000.service"
PROCESSES = "find /sys/fs/cgroup -path '*/{unit}/cgroup.procs' -exec cat {{}} + | sort -un"


@dataclass
class Fleet:
    """The app in service on three hosts behind two balancers; a fourth host is there and was never set up."""

    lab: Lab
    project: Project
    folder: Path
    release: str = ""

    def inventory(self, *, fresh: bool = False, **hosts: Mapping[str, Any]) -> Path:
        """The lab's inventory without the fresh host (unless asked for), with `hosts`' variables changed."""
        yaml = YAML(typ="safe")
        yaml.default_flow_style = False
        data = yaml.load(Path(self.lab.inventory).read_text())
        if not fresh:
            del data["web"]["hosts"][FRESH]
        for group in ("web", "balancers"):
            for name, variables in data[group]["hosts"].items():
                variables.update(hosts.get(name, {}))
        path = self.folder / "inventory.yaml"
        with path.open("w") as out:
            yaml.dump(data, out)
        return path

    def deploy(self, command: str, inventory: Path | None = None, *, expect: int | None = 0, **env: str) -> Done:
        return self.project.deploy(command, "-i", str(inventory or self.inventory()), expect=expect, env=env)

    def shell(self, host: str, command: str) -> str:
        """What a command on the host, past SSH, printed; it has to end well."""
        done = self.lab.exec(host, ["sh", "-c", command])
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def processes(self) -> dict[str, list[str]]:
        """The process ids of every instance, parents and workers."""
        return {host: self.shell(host, PROCESSES.format(unit=UNIT)).split() for host in WEB}

    def refused(
        self,
        exit_status: int,
        code: str,
        *,
        host: str | None,
        step: str,
        says: str,
        next_: str,
        inventory: Path | None = None,
        **env: str,
    ) -> dict[str, Any]:
        """A push that ends at a gate before any instance was touched: its error, all of it checked."""
        before = self.processes()
        done = self.deploy("push", inventory, expect=exit_status, **env)
        assert not [event for event in done.events if event["event"].startswith("wave.")], done.summary
        assert self.processes() == before
        return told(done, code, host=host, step=step, says=says, next_=next_)

    def failed(self, code: str, *, step: str, says: str, next_: str) -> dict[str, Any]:
        """A push that failed at its first instance and was put back: its error, all of it checked."""
        done = self.deploy("push", expect=5)
        assert len(done.of("wave.started")) in (1, 2), "one wave, and the way back where the controller goes it"
        return told(done, code, host="web1", step=step, says=says, next_=next_)

    def require_whole(self, within: float = 0.0) -> None:
        """Every instance proves the release and is UP at both balancers; nothing else is to be said of it."""
        ends = time.monotonic() + within
        while (wrong := self.wrong()) and time.monotonic() < ends:
            time.sleep(0.2)
        assert not wrong, wrong

    def wrong(self) -> list[str]:
        done = self.deploy("status", expect=None)
        hosts = done.last["hosts"]
        instances = [(name, state) for name, host in hosts.items() for state in host["instances"].values()]
        assert {name for name, _ in instances} == set(WEB)
        expected = (self.release, "proven")
        wrong = [str(each) for each in instances if (each[1]["release"], each[1]["state"]) != expected]
        data = dict(done.last["data"])
        up = {"lb1": "UP", "lb2": "UP"}
        wrong += [str(each) for each in data.pop("instances") if not each["proven"] or each["balancers"] != up]
        wrong += [f"{name}: {value}" for name, value in data.items() if value and name != "release"]
        return wrong + [str(each) for each in done.of("warning")]

    @contextmanager
    def version(self, number: int, settings: Mapping[str, Any] | None = None, **files: str) -> Iterator[None]:
        """Another version of the app: `settings` laid over the usual ones, `files` in place of its own."""
        kept = {name: self.project.folder / name.replace("__", ".") for name in files}
        texts = {name: path.read_text() if path.exists() else "" for name, path in kept.items()}
        self.project.settings({**SETTINGS, **(settings or {})})
        self.project.commit(f"version {number}", VERSION=f"{number}\n", **files)
        try:
            yield
        finally:
            path = self.project.folder / "deploy.yaml"
            self.project.commit("the first version again", VERSION="", **texts)
            path.write_text(self.original)
            self.project.commit("its settings too")

    @property
    def original(self) -> str:
        return (self.folder / "deploy.yaml").read_text()


def told(done: Done, code: str, *, host: str | None, step: str, says: str, next_: str) -> dict[str, Any]:
    """The error of a run, after a look at all that it has to say."""
    error = done.error
    assert (error["code"], error["host"], error["step"]) == (code, host, step), done.summary
    assert says in error["message"], error
    assert next_ in error["hint"], error
    assert "Traceback" not in done.stderr, done.stderr
    return error
