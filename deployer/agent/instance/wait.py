"""The two waits of a switch, both bounded: until a port is free of our old processes, until a release is proven."""

from __future__ import annotations

import threading
import time
from typing import Callable

from deployer.agent.instance import health, proof
from deployer.agent.instance.proof import Proof
from deployer.agent.instance.unit import Unit
from deployer.agent.model.layout import Site
from deployer.agent.model.supervision import Instance
from deployer.agent.operation import OpError
from deployer.agent.system import port_owners, procfs
from deployer.agent.system.process_runner import Finished

_GRACE = 1.0  # seconds that a supervisor may take to name the process it has just started
_QUICK = 0.05  # seconds between the first looks; they grow to the wanted interval
_SLACK = 5.0  # seconds beyond `within` for the start verb's own answer
HINTS = {
    "did_not_start": health.SLOW,
    "unhealthy": health.SLOW,
    "port_taken": "stop that process, or choose another port: in deploy.yaml; then type deploy push {env}",
}


def wait_for_free_port(
    site: Site,
    instance: Instance,
    unit: Unit,
    known: procfs.Process | None,
    deadline: float,
    stop_result: Finished,
) -> str:
    """Waits until the main process `known` has ended and none of our processes holds the port.

    Returns:
        Who else holds the port then, in words; empty when it is free.

    Raises:
        OpError `did_not_stop` at the deadline (monotonic clock), or when the supervisor failed to stop it. What is
        left is named and not killed: it may be serving somebody.
    """
    while True:
        running = known is not None and procfs.alive(known)
        held = port_owners.find_port_owner(instance.address, instance.port)
        own_pids = [pid for pid in held.pids if _is_own(site, unit, known, pid)]
        strangers = [pid for pid in held.pids if pid not in own_pids]
        if not running and not own_pids and (strangers or held.waiting):
            return port_owners.describe_process(strangers[0]) if strangers else port_owners.FOREIGN
        if not running and held.free and not unit.main():
            return ""
        refused = running and not stop_result.ok and not stop_result.timed_out
        if refused or time.monotonic() >= deadline:
            if not running and not own_pids and held.unseen:
                return "a process of user " + ", ".join(held.unseen)
            raise _still_there(instance, unit, known if running else None, own_pids, stop_result)
        time.sleep(0.1)


def wait_until_proven(
    site: Site,
    instance: Instance,
    unit: Unit,
    release: str,
    began: float,
    within: float,
    cancelled: threading.Event | None = None,
    *,
    restart: bool = False,
) -> Proof:
    """Starts the unit and waits until the release is proven, at most `within` seconds after `began`.

    `restart`: it is stopped and started as one job, and the seconds count from the job's end. It does not wait for what
    cannot come any more: a main process that ended or was replaced fails at once.

    Raises:
        OpError `did_not_start`, `unhealthy`, `port_taken`, or `cancelled`.
    """
    _stop_if(cancelled)
    bound = within + _SLACK
    started = unit.restart(unit.stop_bound + bound, cancelled) if restart else unit.start(bound, cancelled)
    since = procfs.now() if restart else began
    _stop_if(cancelled)
    if not started.ok:
        why = "; ".join(started.log(2)) or started.why
        raise _failed("did_not_start", instance, unit, release, f"{started.why}: {why}")
    main: procfs.Process | None = None
    pause = _QUICK
    while True:
        main = _same_main(instance, unit, release, main, since)
        latest_proof = proof.examine(
            site,
            instance,
            release,
            main.pid if main else 0,
            began,
            patience=since + within - procfs.now() if instance.socket else 0.0,
            still=_waits_for(main, cancelled),
        )
        if latest_proof.proven and main is not None and procfs.alive(main):
            return latest_proof
        if latest_proof.step == "holder" and main is not None and _is_taken(site, latest_proof):
            raise _failed("port_taken", instance, unit, release, latest_proof.why)
        left = since + within - procfs.now()
        if left <= 0:
            code = "did_not_start" if latest_proof.step == "listen" else "unhealthy"
            why = f"{latest_proof.why}, {within:g} s after the start"
            raise _failed(code, instance, unit, release, why, latest_proof.hint)
        pause = min(pause * 1.5, max(instance.health.every, _QUICK))
        if cancelled is None:
            time.sleep(min(pause, left))
        else:
            cancelled.wait(min(pause, left))
            _stop_if(cancelled)


def _same_main(
    instance: Instance, unit: Unit, release: str, main: procfs.Process | None, began: float
) -> procfs.Process | None:
    """The main process, asked for once and watched from then on; None while the supervisor has named none yet."""
    if main is not None:
        if procfs.alive(main):
            return main
        pid = unit.main()
        then = "was replaced by process %d" % pid if pid else "ended"
        raise _failed("did_not_start", instance, unit, release, "its main process %d %s" % (main.pid, then))
    pid = unit.main()
    process = procfs.process(pid) if pid else None
    if process is not None and not process.dead:
        return process
    if procfs.now() - began > _GRACE:
        raise _failed("did_not_start", instance, unit, release, "it has no running process")
    return None


def _waits_for(main: procfs.Process | None, cancelled: threading.Event | None) -> Callable[[], bool]:
    """Whether a health check's answer may still come: a held port takes the question even when the process is gone."""
    return lambda: main is not None and procfs.alive(main) and not (cancelled is not None and cancelled.is_set())


def _is_taken(site: Site, latest_proof: Proof) -> bool:
    """Whether a stranger has the port: a process that runs in none of the site's releases."""
    return bool(latest_proof.pids) and all(port_owners.release_of(site, pid) is None for pid in latest_proof.pids)


def _is_own(site: Site, unit: Unit, known: procfs.Process | None, pid: int) -> bool:
    return (
        port_owners.belongs(pid, known.pid if known else 0, unit.name) or port_owners.release_of(site, pid) is not None
    )


def _stop_if(cancelled: threading.Event | None) -> None:
    if cancelled is not None and cancelled.is_set():
        raise OpError("cancelled", "the run was cancelled")


def _failed(code: str, instance: Instance, unit: Unit, release: str, why: str, hint: str = "") -> OpError:
    did = {"unhealthy": "is not healthy", "port_taken": "cannot have its port"}.get(code, "did not start")
    message = "instance %d (%s) %s with release %s: %s" % (instance.index, unit.name, did, release, why)
    return OpError(code, message, hint or HINTS[code])


def _still_there(
    instance: Instance, unit: Unit, main: procfs.Process | None, own_pids: list[int], stop_result: Finished
) -> OpError:
    left = own_pids or ([main.pid] if main else [])
    how = f"within {unit.stop_bound:g} s" if stop_result.ok or stop_result.timed_out else "as asked"
    who = " and ".join(port_owners.describe_process(pid) for pid in left[:3]) or "its supervisor still names a process"
    supervisor_note = (
        "" if stop_result.ok else "; the supervisor said: %s" % ("; ".join(stop_result.log(2)) or stop_result.why)
    )
    return OpError(
        "did_not_stop",
        "instance %d (%s) did not stop %s: %s%s" % (instance.index, unit.name, how, who, supervisor_note),
        "kill %s on that host, then type deploy {command} {env}" % (" ".join(map(str, left)) or "it"),
        detail={"pids": left},
    )
