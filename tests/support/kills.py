"""A run is hit at one point; what came of it, within which time, and that the next push heals.

What is demanded after every point, within the bounds that docs/dead-controller.md states: every instance serves but one
in quarantine on the host whose agent died, nobody holds a lock, all links lead to complete releases, nothing is left
over. Then the next push succeeds, and its release is what every instance answers with. No request failed meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from deployer.agent.channel.protocol import LEASE
from deployer.remote.session import LONGEST_START_S
from deployer.rollout.pools.pools import QUIET_S
from support import severed
from support.controller import Controller
from support.hit import LOOK, App, until
from support.points import Point, boundaries, noted, said
from support.rows import Row

WORKS = {
    "push": ("push",),
    "bluegreen": ("push", "--strategy", "bluegreen"),
    "rollback": ("rollback",),
    "reload": ("reload",),
}
"""What is hit, by the name that a point has for it."""

LONGEST_END_S = LONGEST_START_S + 25.0 + LOOK
"""Until a run has ended whose hosts fell silent while it connected: the longest wait before there are sessions.

25 s are for the connection and the login (`ConnectTimeout` of 10 s, 15 s for authentication).
"""


def enumerated(app: App, work: str) -> list[str]:
    """The boundaries of a run that nothing happens to, from its events and its hosts' ledgers; it is carried out."""
    make_ready(app, work, f"rehearsal of {work}")
    done = app.deploy(*WORKS[work])
    app.proven.add(done.release)
    run = str(done.events[0]["run"])
    web = sorted(host for host in app.truth.lab.hosts if host.startswith("web"))
    if work == "rollback":
        app.proven.add(app.deploy("push").release)
    return boundaries(done.events) + [name for host in web for name in noted(host, app.truth.ledger(host), run)]


def make_ready(app: App, work: str, version: str) -> None:
    """Something to push, or a release to go back from."""
    if work == "rollback" and len(app.proven) < 2:
        app.project.version(version)
        app.proven.add(app.deploy("push").release)
    if WORKS[work][0] == "push":
        app.project.version(version)


def points(work: str, moments: Sequence[str], hosts: Sequence[str]) -> list[Point]:
    """Of a push: everybody at every boundary, at an agent's own steps it and the controller.

    Of the others: the controller at its own boundaries; in blue/green, agents at theirs.
    """
    found = []
    for moment in moments:
        host = Point(work, moment, "").host
        if work == "push":
            victims = ["controller", host] if host else ["controller", "silence", *hosts]
        else:
            victims = ["controller"] if not host else [host] if work == "bluegreen" else []
        found += [Point(work, moment, victim) for victim in victims]
    return found


class Ordeal:
    """Lets one app suffer one point after the other. At most so many as `turns` allows push at once."""

    def __init__(self, app: App, turns: threading.Semaphore) -> None:
        self._app = app
        self._turns = turns

    def suffer(self, point: Point) -> Row:
        """Everything that belongs to one point. Raises nothing; a `problem` is in the row."""
        app = self._app
        before = app.seen()
        row = Row(str(point))
        try:
            with ExitStack() as over:
                row = self._hit(point, over)
                row = replace(row, healed=self._healed(point))
        except (AssertionError, OSError) as error:
            row = replace(row, problem=f"{type(error).__name__}: {error}")
        after = app.seen()
        failed, strange = after.failed - before.failed, set(after.releases) - app.proven
        if failed or strange:
            why = f"{failed} requests failed ({after.failures[-failed:]})" if failed else f"answered by {strange}"
            row = replace(row, problem=f"{why}; {row.problem}".rstrip("; "))
        return replace(row, requests=after.requests - before.requests, failed=failed)

    def mend(self) -> bool:
        """After a point that failed: whether a push brings the app back to where the next point can begin."""
        with self._turns:
            done = self._app.deploy("push", "--wait", "4m", expect=None)
        self._app.proven |= {done.release}
        return done.exit == 0

    def _hit(self, point: Point, over: ExitStack) -> Row:
        app = self._app
        with self._turns:
            make_ready(app, point.work, str(point))
            app.controller = Controller(app.project, *WORKS[point.work], *app.user)
            over.callback(app.controller.close)
            moment = self._accident(point, app.controller, over)
        app.proven |= set(app.hit.planned)
        alive = point.victim not in ("controller", "silence")
        limit = LOOK + (LEASE if point.victim == "silence" else 0.0)
        took = app.truth.recovers(
            app.hit.run,
            moment,
            limit + QUIET_S,
            over=lambda: not alive or app.hit.process.poll() is not None,
            lost=point.victim if alive else "",
        )
        bound = max(took.bound, took.ended, QUIET_S) + (LEASE if point.victim == "silence" else 0.0)
        if point.victim == "controller":
            ended = "killed"
        else:
            last = app.hit.end(within=LONGEST_END_S)
            ended = f"exit {last['exit_status']}"
            assert last["exit_status"] not in (1, 2), app.hit.summary
        assert "Traceback" not in app.hit.summary, app.hit.summary
        app.proven |= set(app.hit.planned)
        out = ", ".join(name for name, record in app.truth.held().items() if record["by"] == "quarantine")
        return Row(str(point), ended, bound, took.served, took.unlocked, out)

    def _accident(self, point: Point, controller: Controller, over: ExitStack) -> float:
        """Waits for the moment and lets it happen; when it did, on the monotonic clock."""
        app, pid = self._app, None
        if point.victim in app.truth.lab.hosts:
            # The first steps are the controller's own: they begin before there are agents.
            find = partial(severed.agent, controller.process.pid, app.truth.lab, point.victim)
            controller.until_true(f"there is an agent on {point.victim}", find)
            pid = find()
            assert pid, f"the agent on {point.victim} has ended"
        self._until(point, controller)
        if point.victim == "controller":
            return controller.kill()
        if point.victim == "silence":
            over.enter_context(severed.silence(controller.process.pid, app.truth.lab))
        else:
            assert pid is not None
            severed.kill(pid)
        return time.monotonic()

    def _until(self, point: Point, controller: Controller) -> None:
        truth = self._app.truth

        def reached() -> bool:
            if point.host:
                return bool(controller.run) and point.moment in noted(
                    point.host, truth.ledger(point.host), controller.run
                )
            return point.moment in said(list(controller.events))

        controller.until_true(str(point), reached, within=120.0)

    def _healed(self, point: Point) -> str:
        """The next push succeeds without a person, and every instance says so itself. How it ended."""
        app = self._app
        assert app.truth.incomplete() == []
        until("nothing is left over", lambda: app.truth.leftovers() == [])
        with self._turns:
            words = WORKS[point.work] if WORKS[point.work][0] == "push" else WORKS["push"]
            done = app.deploy(*words)
        app.proven.add(done.release)
        assert done.last["outcome"] in ("succeeded", "unchanged"), done.summary
        pool = app.truth.pool()
        assert sorted(pool.values()) == ["UP"] * 3, pool
        answers = {name: answer(app, name) for name in pool}
        assert set(answers.values()) == {done.release}, answers
        web = [host for host in app.truth.lab.hosts if host.startswith("web")]
        assert {app.truth.current(host) for host in web} == {done.release}
        assert app.truth.locked() == []
        assert [record for record in app.truth.held().values() if record["by"] != "spare"] == []
        return str(done.last["outcome"])


def answer(app: App, server: str) -> str:
    """The release that an instance itself names, asked past the balancer; empty when it does not answer."""
    host, _, port = server.rpartition("-")
    url = f"http://{app.truth.lab.hosts[host]['host']}:{port}/version"
    try:
        with urllib.request.urlopen(url, timeout=10) as answered:
            return str(json.load(answered)["release"])
    except OSError:
        return ""
