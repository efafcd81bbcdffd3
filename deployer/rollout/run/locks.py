"""The lock of an app and environment: one kernel lock a host, taken in one fixed order, held by the agents."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from deployer.agent.model.messages import lock as wire
from deployer.errors import DeployError, FrozenError, LockedError, NotReadyError
from deployer.plan.facts import Facts
from deployer.remote.errors import AgentError
from deployer.remote.messages.responses import UnexpectedResponse
from deployer.rollout.run.holder import holder_text, is_stuck, latest_end
from deployer.rollout.run.outcomes import doctor_hint, translate_errors
from deployer.rollout.run.recording import ended_in_ledgers
from deployer.rollout.run.run import Run

ASKED_EVERY_S = 2.0
WAITING = ("push", "reload", "rollback", "remove", "scale", "prune")
"""The commands that have `--wait`."""


@contextmanager
def lock_site(run: Run, *, wait: float = 0.0) -> Iterator[None]:
    """Holds the lock on every host of the run. LockedError says who has it. Ends with the agents in any case.

    The ledgers of the hosts note that the run begins, and before the locks are released how it ended.
    """
    try:
        with ended_in_ledgers(run), translate_errors(NotReadyError, doctor_hint(run.topology.env)):
            with run.step("lock"):
                for host in run.topology.hosts:
                    take(run, host.name, wait)
            with _listening(run):
                yield
    finally:
        for host in run.topology.hosts:
            if host.name in run.lost or host.name not in run.noted:
                continue
            try:
                run.call(host.name, wire.RELEASE, run.on_site(host.name), step="unlock")
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
                    request = wire.ReadStopRequest(site=run.site(host), run=run.id)
                    by = run.call(host, wire.ASKED, request, lane="side")["by"]
                    if by:
                        run.stopped_by = by
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
    request = wire.TakeLock(site=run.site(host), run=run.id, who=run.who, wait=wait, command=run.record.command)
    try:
        run.call(host, wire.TAKE, request, step="lock")
        run.noted.add(host)
    except UnexpectedResponse:
        run.noted.add(host)  # the agent has carried it out: the lock is held there, and the ledger has the beginning
        raise
    except DeployError as error:
        if error.code != "locked" or not isinstance(error, AgentError):
            raise
        if error.detail.get("run") == run.id:
            raise NotReadyError(
                f"{host} is the same machine as another host of the inventory",
                host=host,
                step="lock",
                hint="name each machine once; two apps on it are two deploy.yaml",
                code="same_machine",
            ) from error
        raise locked_error(run, host, cast("wire.Holder", error.detail)) from error


def require_unlocked(run: Run, facts: Facts) -> None:
    """LockedError when somebody holds the lock of a host now; the one that is held longest is named."""
    locks = {host.name: lock for host in run.topology.hosts if (lock := facts[host.name].lock)}
    holder = latest_end(list(locks.values()))
    if holder is not None:
        raise locked_error(run, next(host for host, lock in locks.items() if lock is holder), holder)


def locked_error(run: Run, host: str, holder: wire.Holder) -> LockedError:
    """The error for a lock that `holder` has on a host."""
    env, command = run.topology.env, run.record.command
    waits = command in WAITING
    if is_stuck(holder):
        hint = way_to_free(env, host, holder)
    elif holder.get("lost"):
        left = max(0.0, (holder.get("until") or 0.0) - time.time())
        minutes = math.ceil((left + 30.0) / 60.0)
        again = f"deploy {command} {env} --wait {minutes}m waits for that"
        hint = again if waits else f"deploy status {env} shows when it is free"
    else:
        again = f"deploy {command} {env} --wait 10m waits for it; " if waits else ""
        hint = f"{again}deploy cancel {env} asks it to stop"
    return LockedError(
        f"{run.topology.settings.app} is locked by {holder_text(holder)}", host=host, step="lock", hint=hint
    )


def way_to_free(env: str, host: str, holder: wire.Holder) -> str:
    """The command that lets a stopped agent go on; it then winds up and gives the lock back."""
    return f"deploy exec {env} -l {host} -- kill -CONT {holder.get('pid')} lets it go on, and it winds up by itself"


def require_not_frozen(run: Run, facts: Facts) -> None:
    """FrozenError when a person stopped all pushes."""
    for host in run.topology.hosts:
        frozen = facts[host.name].frozen
        if frozen:
            raise FrozenError(
                f"{run.topology.env} is frozen by {frozen.get('who')}: {frozen.get('reason')}",
                host=host.name,
                hint=f"deploy unfreeze {run.topology.env} allows pushes again; rollback works while frozen",
            )
