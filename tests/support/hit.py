"""Apps on a lab of machines, each with users, whose deployments are going to be hit by accidents."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.lab import Lab
from deployer.probe import Receipt
from deployer.rollout.pools.pools import LATE_S
from support.controller import Controller
from support.project import Done, Project
from support.traffic import Traffic, traffic
from support.truth import Recovered, Truth

DRAIN, GRACEFUL, WITHIN = 2.0, 2.0, 20.0
WITHIN_AGAIN = 30.0  # the way back is given half a minute where `within` is less
SWITCHING = LATE_S + 2 * (GRACEFUL + 15 + 5) + WITHIN + WITHIN_AGAIN
LOOK = 5.0  # seconds that these tests may be late in seeing it, on a busy machine
SETTINGS = {
    "runtime": {"workers": 1, "graceful_timeout": f"{GRACEFUL:g}s"},
    "health": {"within": f"{WITHIN:g}s"},
    "rolling": {"drain_timeout": f"{DRAIN:g}s", "soak": "500ms", "waves": [1, 2], "max_unavailable": 2},
}
RATE = 8.0


@dataclass
class App:
    """An app on a lab, its users, and what became of the push that was hit. `proven` releases may answer."""

    project: Project
    truth: Truth
    user: tuple[str, ...]
    first: str
    users: Traffic | None = None
    doors: ExitStack = field(default_factory=ExitStack)
    controller: Controller | None = None
    waiting: Controller | None = None
    recovery: Future[Recovered] | None = None
    proven: set[str] = field(default_factory=set)

    def deploy(self, *args: str, expect: int | None = 0) -> Done:
        return self.project.deploy(*args, *self.user, expect=expect)

    def push(self, *args: str) -> Controller:
        """Begins a push of what is committed."""
        return Controller(self.project, "push", *args, *self.user)

    @property
    def hit(self) -> Controller:
        """The push that was hit."""
        assert self.controller is not None
        return self.controller

    def let_users_in(self, rate: float, mix: str = "full") -> None:
        """From now on there are users, `rate` requests a second, until `doors` close."""
        name = self.truth.app
        log = self.project.folder.with_name(f"{name}.log")
        users = traffic(self.truth.lab.address, log, rate=rate, mix=mix, host_header=f"{name}.test")
        self.users = self.doors.enter_context(users)

    def seen(self) -> Receipt:
        """What its users saw so far."""
        assert self.users is not None
        return self.users.prober.snapshot()

    def begin(self) -> Controller:
        """Begins the push that is going to be hit."""
        self.project.version(2)
        self.controller = self.push()
        return self.controller

    def until_starting(self) -> None:
        """Until the first instance is stopped and its new release is being started."""
        self.hit.until("step.started", "switch")
        self.hit.until_true("the switch is under way", lambda: self.truth.reached("web1", self.hit.run, "start"))

    def recovered(self, *bounds: float) -> Recovered:
        """What the recovery took, once it is over; it happened in a phase with one of these bounds."""
        assert self.recovery is not None
        took = self.recovery.result()
        print(
            f"{self.truth.app}: served after {took.served} s, unlocked after {took.unlocked} s, bound {took.bound:g} s"
        )
        assert took.bound in bounds
        return took

    def serving(self) -> dict[str, str]:
        """Host → the release that its instance proves, as `deploy status` says; fails when anything is amiss."""
        status = self.deploy("status")
        text = self.project.show("status", *self.user)
        assert "proven" in text, text
        assert not [word for word in ("locked", "held out", "half done") if word in text], text
        hosts = {name: host["instances"]["0"] for name, host in status.last["hosts"].items() if host["instances"]}
        assert [instance["state"] for instance in hosts.values()] == ["proven"] * 3, hosts
        return {name: instance["release"] for name, instance in hosts.items()}

    def is_whole(self) -> None:
        """Nobody has a lock, every link leads to a complete release, nothing is left over."""
        for host in self.truth.lab.hosts:
            lock = f"/srv/{self.truth.app}/.deploy/lock"
            assert self.truth.lab.exec(host, ["flock", "-n", lock, "true"]).returncode == 0, host
        assert self.truth.incomplete() == []
        until("nothing is left over", lambda: self.truth.leftovers() == [])

    def heals(self) -> str:
        """The next push succeeds, every instance proves it, and nobody noticed anything. The release."""
        self.is_whole()
        healed = self.deploy("push")
        assert healed.last["outcome"] == "succeeded", healed.summary
        self.unnoticed(healed.release)
        return healed.release

    def unnoticed(self, release: str) -> None:
        """Every instance serves `release`, and no user saw anything but it and the first one."""
        assert set(self.serving().values()) == {release}
        assert self.truth.serving()
        self.is_whole()
        self.doors.close()
        assert self.users is not None
        self.users.demand(proven={self.first, release}, at_least=200, rate=RATE * 0.7)


class Fleet:
    """A lab with apps on it, each with users: `rate` requests a second. `more` are settings beside the usual ones."""

    def __init__(self, lab: Lab, folder: Path, *apps: str, user: str = "", rate: float = RATE, **more: Any) -> None:
        self.lab = lab
        self.user = ("--user", user) if user else ()
        self._settings = SETTINGS | more
        with ThreadPoolExecutor(len(apps)) as pool:
            made = pool.map(lambda each: self._deployed(folder, *each), enumerate(apps))
            self.apps = dict(zip(apps, made, strict=True))
        for app in self.apps.values():
            app.let_users_in(rate)

    def _deployed(self, folder: Path, number: int, name: str) -> App:
        settings = {"app": name, "domains": [f"{name}.test"], "port": 8200 + 10 * number}
        project = Project(folder / name, self.lab.name, "shop", self._settings | settings)
        project.deploy("setup", *self.user)
        release = project.deploy("push", *self.user).release
        return App(project, Truth(self.lab, name), self.user, release, proven={release})

    def close(self) -> None:
        """Everything that runs here for it ends."""
        for app in self.apps.values():
            app.doors.close()
            for controller in (app.controller, app.waiting):
                if controller is not None:
                    controller.close()


def until(what: str, holds: Callable[[], bool], limit: float = 20.0) -> None:
    """Waits for a condition; fails with its name."""
    ends = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < ends, f"not within {limit:g} s: {what}"
        time.sleep(0.1)
