"""A reload in place: the master replaces its workers on SIGHUP, and the port stays open.

SIGHUP says nothing of how it ends, and some servers die of it. So what must be true is looked at first, the new release
is loaded on trial, and the end is judged from the workers. The master is older than the step, and is to be.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.agent.instance import proof
from deployer.agent.instance.proof import Proof
from deployer.agent.instance.wait import HINTS
from deployer.agent.model.layout import Site
from deployer.agent.model.supervision import Instance
from deployer.agent.operation import Context, OpError
from deployer.agent.site import app_environment, secrets
from deployer.agent.system import port_owners, process_runner, procfs

if TYPE_CHECKING:
    from deployer.agent.model.messages.instances import ReloadInPlace

_CHECK_TIMEOUT = 60.0  # seconds for the app to be loaded on trial
_LOOK = 0.1  # seconds between looks at the workers
_FIX = "write rolling.strategy: auto, or add --strategy restart"


@dataclass(frozen=True)
class Reload:
    """One reload of one instance. `check`: words for the release's `run` that load the app on trial; maybe none.

    `or_restart`: nobody insists on a reload, so where it is not possible the instance is restarted.
    """

    ctx: Context
    site: Site
    instance: Instance
    check: tuple[str, ...] = ()
    or_restart: bool = False

    @classmethod
    def requested(cls, ctx: Context, site: Site, instance: Instance, request: ReloadInPlace) -> Reload:
        """The reload that `instance.switch` is asked for."""
        return cls(ctx, site, instance, tuple(request.get("check", ())), request.get("or_restart", False))

    def workers(self, main: int, serving: str, release: str) -> list[procfs.Process]:
        """The workers as they are, when a reload to `release` is possible; changes nothing.

        Raises OpError `cannot_reload` where it could cost what serves, or would not bring the new release about.
        """
        master = procfs.process(main) if main else None
        if master is None:
            raise _cannot(self.instance, "it does not run")
        if not procfs.catches(main, signal.SIGHUP):
            raise _cannot(self.instance, "process %d would die of SIGHUP: it has no workers to replace" % main)
        serving_proof = proof.examine(self.site, self.instance, serving, main)
        if not serving_proof.proven:
            raise _cannot(self.instance, f"it does not serve {serving} as it should: {serving_proof.why}")
        if self._venv(serving) != self._venv(release):
            raise _cannot(self.instance, f"{release} has other dependencies than {serving}")
        if self._secrets_differ(master) or self._secrets_are_younger(master):
            raise _cannot(self.instance, "its secrets changed, and its master keeps those that it was started with")
        workers = [
            worker for worker in map(procfs.process, serving_proof.pids) if worker is not None and worker.pid != main
        ]
        if not workers:
            raise _cannot(self.instance, "process %d has no workers that listen" % main)
        return workers

    def try_out(self, release: str) -> None:
        """Loads the app as the workers will. OpError `check_failed` with its last lines; what serves is untouched."""
        if not self.check:
            return
        self.ctx.progress(f"checking that {release} can be loaded")
        env = app_environment.environment(self.site, release, {"PORT": str(self.instance.port)})
        done = process_runner.run(
            ["./run", *self.check],
            timeout=_CHECK_TIMEOUT,
            cwd=self.site.release(release),
            env=env,
            user=self.site.user,
            merge_stderr=True,
        )
        if not done.ok:
            redact = secrets.redactor(self.site)
            log = [redact(line) for line in done.log(30)]
            last_line = next((line.strip() for line in reversed(log) if line.strip()), "") or done.why
            raise OpError("check_failed", f"release {release} cannot be loaded: {last_line}", log=log)

    def carry_out(self, release: str, main: int, old: list[procfs.Process], within: float) -> Proof:
        """Sends the signal and waits until every worker is a new one that proves the release.

        Each old worker has `within` and the graceful time to go, counted from the last that went: some servers replace
        them in turn. What is left when their successors are there outlived its graceful time, and is ended.

        Raises OpError `did_not_start` or `unhealthy`.
        """
        master, began = procfs.process(main), procfs.now()
        self.ctx.progress("reloading process %d of %s" % (main, self.instance.verbs.unit))
        os.kill(main, signal.SIGHUP)
        left, grace = list(old), within + self.instance.graceful
        deadline, ended = time.monotonic() + grace, False
        while True:
            if master is None or not procfs.alive(master):
                raise self._failed("did_not_start", release, "its main process %d ended" % main)
            still = [worker for worker in left if procfs.alive(worker)]
            if len(still) < len(left):
                left, deadline = still, time.monotonic() + grace
            latest_proof = self._examined(release, master, began, deadline - time.monotonic())
            if latest_proof.proven and not left:
                return latest_proof
            if time.monotonic() >= deadline:
                if ended or not left or not self._replaced(main, began, len(old)):
                    why = latest_proof.why or "%d old workers do not end" % len(left)
                    raise self._failed("unhealthy", release, why, latest_proof.hint)
                _end(left)
                deadline, ended = time.monotonic() + within, True
            time.sleep(_LOOK)

    def _examined(self, release: str, master: procfs.Process, began: float, patience: float) -> Proof:
        return proof.examine(
            self.site,
            self.instance,
            release,
            master.pid,
            began,
            of_workers=True,
            patience=patience,
            still=lambda: procfs.alive(master),
        )

    def _replaced(self, main: int, began: float, count: int) -> bool:
        """Whether as many young workers listen as there were old ones."""
        pids = port_owners.find_port_owner(self.instance.address, self.instance.port).pids
        young = [
            worker
            for worker in map(procfs.process, pids)
            if worker and worker.pid != main and worker.started >= began - 1
        ]
        return len(young) >= count

    def _venv(self, release: str) -> str:
        return os.path.realpath(self.site.release(release) + "/.venv")

    def _secrets_differ(self, master: procfs.Process) -> bool:
        """Whether the master was started with other values; times alone would be wrong after the clock was set."""
        environ = procfs.environment(master.pid)
        return any(environ.get(name) != value for name, value in secrets.values(self.site).items())

    def _secrets_are_younger(self, master: procfs.Process) -> bool:
        try:
            written = os.stat(self.site.secrets).st_mtime
        except OSError:
            return False
        return time.time() - written < procfs.now() - master.started

    def _failed(self, code: str, release: str, why: str, hint: str = "") -> OpError:
        message = "instance %d (%s) did not reload with release %s: %s"
        text = message % (self.instance.index, self.instance.verbs.unit, release, why)
        return OpError(code, text, hint or HINTS[code])


def _end(workers: list[procfs.Process]) -> None:
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            if procfs.alive(worker):
                os.kill(worker.pid, signal.SIGKILL)


def _cannot(instance: Instance, why: str) -> OpError:
    message = "instance %d (%s) cannot be reloaded: %s" % (instance.index, instance.verbs.unit, why)
    return OpError("cannot_reload", message, _FIX)
