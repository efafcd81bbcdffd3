"""The lock of an app and environment: one kernel lock a host, taken in one fixed order, held by the agents."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deployer.errors import DeployError, FrozenError, LockedError, NotReadyError
from deployer.plan.facts import Facts
from deployer.remote.errors import AgentError
from deployer.rollout.run import Run

ASKED_EVERY_S = 2.0


@contextmanager
def locked(run: Run, *, wait: float = 0.0) -> Iterator[None]:
    """Holds the lock on every host of the run. LockedError says who has it. Ends with the agents in any case."""
    with run.step("lock"):
        for host in run.topology.hosts:
            take(run, host.name, wait)
    try:
        with _listening(run):
            yield
    finally:
        for host in run.topology.hosts:
            if host.name in run.lost:
                continue
            try:
                run.call(host.name, "lock.release", {}, step="unlock")
            except DeployError as error:
                run.warn(f"the lock ends with the agent's own end: {error.message}", host=host.name)


@contextmanager
def _listening(run: Run) -> Iterator[None]:
    """While the block runs, `deploy cancel` from anywhere is as Ctrl-C here."""
    over = threading.Event()

    def listen() -> None:
        while not over.wait(ASKED_EVERY_S) and not run.stop.is_set():
            for host in [host.name for host in run.topology.hosts if host.name not in run.lost][:1]:
                with contextlib.suppress(DeployError):
                    by = run.call(host, "lock.asked", {"run": run.id}, lane="side")["by"]
                    if by:
                        run.stopped_by = str(by)
                        run.warn(f"{by} asked this run to stop: the instance in hand is finished first")
                        run.stop.set()

    thread = threading.Thread(target=listen, name="cancel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


def take(run: Run, host: str, wait: float) -> None:
    """The lock on one host; LockedError names its holder."""
    try:
        run.call(host, "lock.take", {"run": run.id, "who": run.who, "wait": wait}, step="lock")
    except DeployError as error:
        if error.code != "locked":
            raise
        if isinstance(error, AgentError) and error.detail.get("run") == run.id:
            raise NotReadyError(
                f"{host} is the same machine as another host of the inventory",
                host=host,
                step="lock",
                hint="name each machine once; two apps on it are two deploy.yaml",
                code="same_machine",
            ) from error
        raise LockedError(
            error.message,
            host=host,
            step="lock",
            hint=error.hint or "wait for it to end, or add --wait 10m",
        ) from error


def require_not_frozen(run: Run, facts: Facts) -> None:
    """FrozenError when a person stopped all pushes."""
    for host in run.topology.hosts:
        frozen = facts[host.name].raw.get("frozen")
        if frozen:
            raise FrozenError(
                f"{run.topology.env} is frozen by {frozen.get('who')}: {frozen.get('reason')}",
                host=host.name,
                hint=f"deploy unfreeze {run.topology.env} lets pushes go again; rollback works while frozen",
            )
