"""The watchdog: a process of its own that puts back what a run drained, when that run's agent is not there to do it.

Why it needs no lock of the app. Three may want to admit the same server: the agent that drained it, the watchdog of
that run, and the next run's `balancer.recover`. Each of them changes the balancer and the record together under the
short lock of `drain_records.editing`, and reads the record anew inside. Whoever comes second finds no record of that
run and does nothing. So a watchdog that fires between the moment a new run took the app's lock and its `recover` does
exactly what `recover` was about to do; after it, whatever is drained carries the new run's id, which an old watchdog
never touches. A person's drain and a quarantine are nobody's but a person's (`by`).

When it fires. The agent renews a file with the boot-time clock every second while the controller's lease is fresh.
The watchdog fires `bound` seconds after the last renewal. The bound is short while no instance is being switched, and
as long as the longest switch before one begins (`arm`): by then a web host that lost the controller too has finished or
undone what it had in hand. Whether the agent was killed, hangs, or lives on without a controller makes no difference,
and there is one actor, not two: an agent that lost its controller keeps the app's lock and waits for its watchdog
(`Watch.outlast`), and acts itself only if that one is dead.

Why it cannot fire on a bound that is no longer true. An agent says another bound, and a watchdog makes sure that its
time is over, under that same short lock. Whoever comes first has the word: a watchdog that comes second reads the new
bound and a fresh renewal; an agent that comes second finds that nothing of what it needs is out any more (`not_out`),
and then nothing may be stopped.

When it ends. When its file is taken away (`dismiss`); when its agent is gone and holds nothing. One that has fired
stays with its agent, which may only have been asleep, and drain again.
It lives in a transient unit of its own under systemd, because logind may kill all of a session, else in a session of
its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Callable

from deployer.agent.balancer import drain_records
from deployer.agent.balancer.driver import Driver, settle
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.channel import bootstrap, shutdown
from deployer.agent.model.layout import Site
from deployer.agent.operation import Context, OpError
from deployer.agent.site import ledger
from deployer.agent.system import files, procfs

_RENEW = 1.0  # seconds between renewals
_LOOK = 0.25  # seconds between the watchdog's looks
_START = 15.0  # seconds it may take until it says that it runs
_SLACK = 10.0  # seconds past its time after which an agent takes its watchdog for dead
_UNSAID_BOUND = 300.0  # seconds; for a drain whose run never said `balancer.watch`
_RUN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
_SUFFIXES = (".json", ".alive", ".pid", ".pyz")


def arm(
    ctx: Context,
    site: Site,
    run: str,
    driver: dict[str, Any],
    bound: float | None = None,
    out: Sequence[str] = (),
) -> str:
    """Makes sure that this run's watchdog runs and is renewed from now on; repeating it changes the bound only.

    `bound` None leaves the bound that was said before, and is 300 s when none was; else it is the new one when this
    returns. `out` are servers that have to be out of the pool then. Returns how it lives: `systemd` or `process`.

    Raises OpError `not_out` when the balancer sends requests to one of `out`, `watchdog_failed` when it cannot be
    started. Nothing may be drained or stopped then.
    """
    if not _RUN.match(run):
        raise OpError("invalid", f"{run!r} is not the id of a run")
    with _arming:
        watch = _watches.get((site.state, run))
        if watch is None:
            watch = _watches[(site.state, run)] = Watch(site, run)
            shutdown.on_loss(watch.outlast)
            shutdown.bound(watch.left)
            shutdown.on_end(watch.dismiss)
        return watch.arm(ctx, driver, bound, out)


def dismiss_others(site: Site, run: str) -> None:
    """Ends the watchdogs of all other runs of this site. Only for the holder of the app's lock, after `recover`."""
    for other in _runs(site):
        if other != run:
            _remove(site, other)


class Watch:
    """An agent's hold on the watchdog of its run."""

    def __init__(self, site: Site, run: str) -> None:
        self._site = site
        self._run = run
        self._bound = 0.0
        self._driver: dict[str, Any] = {}
        self._renewing: threading.Thread | None = None
        self._ended = threading.Event()

    def arm(self, ctx: Context, driver: dict[str, Any], bound: float | None, out: Sequence[str]) -> str:
        """Tells the watchdog the bound, starts it unless it runs, and renews it from now on."""
        self._driver = driver
        with drain_records.editing(self._site) as records:
            _require_out(create_driver(driver), records, out)
            self._bound = bound or self._bound or _UNSAID_BOUND
            self._renew()
            self._describe()
        if not self._runs():
            self._start()
        if self._renewing is None:
            self._renewing = threading.Thread(target=self._keep_renewing, args=(ctx,), name="watchdog", daemon=True)
            self._renewing.start()
        return "systemd" if _under_systemd(self._site) else "process"

    def outlast(self) -> None:
        """The controller is lost: stays until the watchdog has put back what this run drained."""
        self._ended.set()
        last = _renewed(self._site, self._run)
        end = (procfs.now() if last is None else last) + self._bound + _SLACK
        while drain_records.of_run(drain_records.read(self._site), self._run) and procfs.now() < end:
            if not self._runs() and procfs.now() >= end - _SLACK:
                break
            time.sleep(_LOOK)
        put_back(self._site, self._run, create_driver(self._driver), "the controller was lost")

    def left(self) -> float:
        """Seconds until the watchdog has put back what this run drained; 0 when nothing of it is out."""
        if not drain_records.of_run(drain_records.read(self._site), self._run):
            return 0.0
        last = _renewed(self._site, self._run)
        return max(0.0, (procfs.now() if last is None else last) + self._bound + _LOOK - procfs.now())

    def dismiss(self) -> None:
        """Ends the watchdog, unless something of this run is still drained: then it is needed."""
        if not drain_records.of_run(drain_records.read(self._site), self._run):
            self._ended.set()
            _remove(self._site, self._run)

    def _keep_renewing(self, ctx: Context) -> None:
        while not self._ended.wait(_RENEW):
            if ctx.lease_left() > 0:
                with contextlib.suppress(OSError):  # a full disk: the watchdog then fires early, which is safe
                    self._renew()

    def _renew(self) -> None:
        fd = os.open(_file(self._site, self._run, ".alive"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, b"%031.6f\n" % procfs.now(), 0)  # always as long: one write, never a torn number
        finally:
            os.close(fd)

    def _describe(self) -> None:
        me = procfs.process(os.getpid())
        site = self._site
        order = {
            "site": {name: getattr(site, name) for name in ("app", "env", "root", "prefix", "user")},
            "run": self._run,
            "driver": self._driver,
            "bound": self._bound,
            "agent": {"pid": os.getpid(), "ticks": me.ticks if me else 0},
        }
        _write_record(_file(site, self._run, ".json"), order)

    def _runs(self) -> bool:
        try:
            with open(_file(self._site, self._run, ".pid"), encoding="ascii") as file:
                return _alive(json.load(file))
        except (OSError, ValueError):
            return False

    def _start(self) -> None:
        argv = [*bootstrap.archive(_file(self._site, self._run, ".pyz")), "balancer.watchdog"]
        order = _file(self._site, self._run, ".json")
        if _under_systemd(self._site):
            unit = f"deploy-watchdog-{self._site.app}-{self._site.env}-{self._run}"
            options = ["Restart=on-failure", "RestartSec=1", "StartLimitIntervalSec=0"]
            words = ["systemd-run", "--quiet", "--collect", "--unit=" + unit, *("--property=" + o for o in options)]
            command = [*words, *argv, order]
        else:
            command = [*argv, "--detach", order]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            timeout=_START,
        )
        began = time.monotonic()
        while done.returncode == 0 and not self._runs() and time.monotonic() - began < _START:
            time.sleep(0.01)
        if not self._runs():
            raise OpError(
                "watchdog_failed",
                "the watchdog of the balancer could not be started, so nothing was drained",
                log=done.stdout.decode("utf-8", "replace").splitlines()[-20:],
            )


# The watchdogs that this agent renews, by the site's state folder and the run: a process is one agent.
_watches: dict[tuple[str, str], Watch] = {}
_arming = threading.Lock()


def put_back(site: Site, run: str, balancer: Driver, why: str, due: Callable[[], bool] = lambda: True) -> list[str]:
    """Makes ready what this run drained, and forgets that it did; the names, empty when there is nothing left to do.

    `due` is asked under the lock of the records; nothing is done when it says no. Raises OpError `balancer_down`; the
    records then stay.
    """
    with drain_records.editing(site) as records:
        due_now = bool(drain_records.of_run(records, run)) and due()
        known = balancer.servers() if due_now else {}
        if due_now:
            drain_records.follow(records, known)
        drained_by_run = sorted(drain_records.of_run(records, run)) if due_now else []
        settle(balancer, [name for name in drained_by_run if name in known], "ready")
        for name in drained_by_run:
            del records[name]
    if drained_by_run:
        ledger.append(site, {"run": run, "event": "admitted", "servers": drained_by_run, "why": why})
    return drained_by_run


def main(argv: list[str]) -> int:
    """The watchdog itself: `[--detach] ORDER.json`. 0 when it has nothing left to do."""
    if argv and argv[0] == "--detach":
        argv = argv[1:]
        _detach()
    _say_that_it_runs(argv[0])
    while True:
        try:
            if _done(argv[0]):
                return 0
        except FileNotFoundError:
            if not os.path.exists(argv[0]):
                return 0
        except Exception as error:  # the balancer restarts, the disk is full: nobody else is left to try again
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        time.sleep(_LOOK)


def _done(path: str) -> bool:
    order = _order(path)
    site, run = Site(**order["site"]), order["run"]
    if drain_records.of_run(drain_records.read(site), run):
        if _is_due(path):
            why = f"the agent was not alive for {order['bound']:.0f} s"
            put_back(site, run, create_driver(order["driver"]), why, lambda: _is_due(path))
        return False
    if _alive(order["agent"]):
        return False
    _remove(site, run)
    return True


def _is_due(path: str) -> bool:
    order = _order(path)
    last = _renewed(Site(**order["site"]), order["run"])
    return last is None or procfs.now() >= last + float(order["bound"])


def _order(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        order: dict[str, Any] = json.load(file)
    return order


def _require_out(balancer: Driver, records: drain_records.Records, names: Sequence[str]) -> None:
    servers = balancer.servers() if names else {}
    if names:
        drain_records.follow(records, servers)
    back = [name for name in names if name in servers and (name not in records or servers[name].admin == "ready")]
    if back:
        raise OpError(
            "not_out",
            f"the balancer sends requests to {', '.join(back)} again, so it may not be stopped",
            "its host was asleep, or the balancer was restarted; type deploy push {env}",
        )


def _detach() -> None:
    """Leaves the starter's session and its files: the parent ends here."""
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def _say_that_it_runs(order: str) -> None:
    me = procfs.process(os.getpid())
    if os.path.exists(order):
        _write_record(order[: -len(".json")] + ".pid", {"pid": os.getpid(), "ticks": me.ticks if me else 0})


def _alive(who: dict[str, int]) -> bool:
    return procfs.alive(procfs.Process(who["pid"], 0, "", who["ticks"]))


def _renewed(site: Site, run: str) -> float | None:
    """Boot-time seconds of the last renewal; None when the file is not there."""
    try:
        with open(_file(site, run, ".alive"), encoding="ascii") as file:
            return float(file.read())
    except FileNotFoundError:
        return None


def _under_systemd(site: Site) -> bool:
    return not site.prefix and os.geteuid() == 0 and os.path.isdir("/run/systemd/system")


def _file(site: Site, run: str, suffix: str) -> str:
    return f"{site.state}/watchdog-{run}{suffix}"


def _runs(site: Site) -> list[str]:
    names = os.listdir(site.state) if os.path.isdir(site.state) else []
    stems = {os.path.splitext(name)[0] for name in names if name.endswith(_SUFFIXES)}
    return sorted(stem[len("watchdog-") :] for stem in stems if stem.startswith("watchdog-"))


def _remove(site: Site, run: str) -> None:
    """Takes a watchdog's files away, the order first: the watchdog ends when it misses it."""
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_file(site, run, suffix))


def _write_record(path: str, record: dict[str, Any]) -> None:
    # Process ids and times of the boot clock mean nothing after a reboot, and arming must not wait for a slow disk.
    files.write(path, json.dumps(record).encode("utf-8"), 0o600, durable=False)
