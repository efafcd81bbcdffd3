"""`deploy demo`: the whole story on a throw-away fleet, with users' traffic all the while, and a receipt.

Fleet up, v1 pushed, traffic on, v2 pushed in waves, a broken v3 pushed and restored, rollback to v1, fleet down.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployer import probe
from deployer.errors import DeployError, RolloutError
from deployer.events import Bus, Output
from deployer.lab.lab import Lab
from deployer.lab.lifecycle import down, up
from deployer.lab.model import LabSpec
from deployer.lab.operate import default_kind
from deployer.probe import Receipt
from deployer.rollout.commands.push import push
from deployer.rollout.commands.rollback import rollback
from deployer.rollout.commands.setup import setup
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.project import Project, load
from deployer.rollout.run.record import Record
from deployer.templating import content

NAME = "demo"
SETTINGS = """\
app: shop
health: {within: 20s}
rolling: {drain_timeout: 2s, soak: 1s}
runtime: {graceful_timeout: 5s, workers: 2}
"""


def demo(invocation: Invocation, *, kind: str) -> None:
    """Tell the story. RolloutError when a request failed or a step did not end as it should."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="deploy-demo-") as folder, _fleet(invocation.bus, kind) as lab:
        story = Story(invocation.bus, Path(folder) / "shop", lab, invocation.stop)
        story.tell(invocation.record)
        invocation.record.probe = story.receipt.as_json()
    for line in story.lines(time.monotonic() - began):
        invocation.bus.emit(Output(line, step="receipt"))
    story.judge()


@contextmanager
def _fleet(bus: Bus, kind: str) -> Iterator[Lab]:
    def progress(line: str) -> None:
        bus.emit(Output(line, step="lab"))

    down(NAME, progress)
    try:
        yield up(LabSpec(name=NAME, kind=kind or default_kind(), hosts=3), progress)  # type: ignore[arg-type]
    finally:
        down(NAME, progress)


class Story:
    """One telling: an app in a git work tree of its own, and what became of every push."""

    def __init__(self, bus: Bus, folder: Path, lab: Lab, stop: threading.Event) -> None:
        self._bus = bus
        self._folder = folder
        self._lab = lab
        self._stop = stop
        self._ran: list[tuple[str, Record]] = []
        self.receipt = Receipt(0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)

    def tell(self, record: Record) -> None:
        """The story itself; `record` takes what runs where at its end."""
        shutil.copytree(content("examples") / "shop", self._folder, ignore=shutil.ignore_patterns("__pycache__"))
        (self._folder / "deploy.yaml").write_text(SETTINGS)
        self._git("init", "-q", "-b", "main")
        self._say("the hosts are set up")
        setup(self._project(), self._invocation(Record("setup")), replace=False)
        self._commit("v1")
        first = self._push("v1 is pushed: the first release")
        with probe.start(f"http://{self._lab.address}/", rate=30.0, mix="full") as prober:
            self._commit("v2")
            prober.mark("v2")
            second = self._push("v2 is pushed in waves, while users are there")
            self._commit("v3", BREAK="health\n")
            prober.mark("v3")
            self._push_broken("v3 is pushed, and it is broken: its health check answers 500")
            prober.mark("rollback")
            self._say("rollback to v1")
            last = Record("rollback")
            rollback(self._project(), self._invocation(last), release=None)
            self._ran.append(("rollback to v1", last))
            self.receipt = prober.stop()
        record.release, record.previous, record.hosts = last.release, second.release, last.hosts
        if last.release != first.release:
            raise RolloutError(f"the rollback went to {last.release}, not to v1 ({first.release})", step="demo")

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield the receipt in lines."""
        receipt = self.receipt
        yield f"receipt: {receipt.requests} requests in {receipt.seconds:.0f} s while four changes went through"
        yield f"  failed {receipt.failed}   stale {receipt.stale}   websockets closed with code 1012 {receipt.told}"
        yield f"  p50 {receipt.p50_ms:.0f} ms   p99 {receipt.p99_ms:.0f} ms   max {receipt.max_ms:.0f} ms"
        for name, record in self._ran:
            outcome = record.outcome.replace("_", " ")
            yield f"  {name:<16} {outcome:<12} {record.release}"
        for release, answers in receipt.releases.items():
            yield f"  {answers:>5} answers by {release}"
        yield f"  all of it took {seconds:.0f} s"

    def judge(self) -> None:
        """Raise RolloutError when a user would have noticed something."""
        proven = {record.release for _, record in self._ran if record.outcome == "succeeded"}
        strangers = set(self.receipt.releases) - proven
        if self.receipt.failed or self.receipt.stale or strangers:
            raise RolloutError(
                f"{self.receipt.failed} requests failed, {self.receipt.stale} were stale",
                step="demo",
                cause=f"responses from releases that were never proven: {sorted(strangers)}" if strangers else None,
                log=[f"{failure.kind}: {failure.what}" for failure in self.receipt.failures[:10]],
                hint="deploy demo runs it again; if it fails again, it is a fault of deploy",
            )

    def _push(self, title: str) -> Record:
        self._say(title)
        record = Record("push")
        push(self._project(), self._invocation(record))
        self._ran.append((title.split()[0], record))
        return record

    def _push_broken(self, title: str) -> None:
        self._say(title)
        record = Record("push")
        try:
            push(self._project(), self._invocation(record))
        except RolloutError as error:
            self._bus.emit(Output(f"as it should, it failed: {error.message}", step="demo"))
            record.outcome = "restored"
            self._ran.append(("v3", record))
            return
        raise DeployError("the broken release was accepted", step="demo")

    def _invocation(self, record: Record) -> Invocation:
        return Invocation(self._bus, record, self._stop)

    def _project(self) -> Project:
        return load(self._lab.name, inventory=Path(self._lab.inventory), who="demo", start=self._folder)

    def _say(self, text: str) -> None:
        self._bus.emit(Output(f"— {text}", step="demo"))

    def _commit(self, message: str, **files: str) -> None:
        for name, text in {"VERSION": message + "\n", **files}.items():
            (self._folder / name).write_text(text)
        self._git("add", "-A")
        self._git("commit", "-q", "-m", message)

    def _git(self, *args: str) -> None:
        who = ["-c", "user.name=demo", "-c", "user.email=demo@example.invalid"]
        subprocess.run(["git", *who, *args], cwd=self._folder, check=True, capture_output=True)
