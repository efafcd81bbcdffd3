"""Operations on instances: switch to a release, prove, stop, show the log."""

from __future__ import annotations

import time
from typing import Any

from deployer.agent.instance import proof
from deployer.agent.instance.reload import Reload
from deployer.agent.instance.switch import Switch
from deployer.agent.instance.unit import Unit
from deployer.agent.instance.wait import wait_for_free_port
from deployer.agent.model.layout import Site
from deployer.agent.model.supervision import Instance, instances_from_wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links
from deployer.agent.system import procfs
from deployer.agent.system.threads import map_at_once


@operation("instance.switch", longest=lambda args: Instance.from_wire(args["instance"]).longest_switch)
def switch(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Makes one instance serve `release`, and goes back to `previous` when that fails.

    Args:
        args: `site, run, instance, release, previous` (None: the slot was not in use), `via` (`push`, `rollback`,
            `restore`, or `reload`: the same release is restarted), `reload` (`{check}`: in place by SIGHUP, or null).

    Returns:
        `pids` that hold the port, `seconds`, `changed` (False: it was proven already and nothing was touched).
    """
    site, instance = Site.from_args(args), Instance.from_wire(args["instance"])
    hup = Reload.from_args(ctx, site, instance, args["reload"]) if args.get("reload") else None
    return Switch(ctx, site, args["run"], instance, hup).to(
        args["release"], args.get("previous"), args.get("via", "push")
    )


@operation("instance.prove")
def prove(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Looks once at every instance, all at the same time; changes nothing.

    Args:
        args: `site, instances`; `release` (None: the one the instance's slot points at); `started_after` (seconds of
            the host's boot-time clock, or None); `patience` (seconds for a health check behind a queue, 0); `measure`.

    Returns:
        `slots`: port → `{proven, why, pids, release, instance}`; with `measure` also `memory`, the bytes of the
        processes that listen, and `age`, the seconds for which the oldest of them has lived.
    """
    site = Site.from_args(args)
    release, after, patience = args.get("release"), args.get("started_after"), float(args.get("patience") or 0)

    def look(instance: Instance) -> dict[str, Any]:
        answer = _proven(site, instance, release, after, patience)
        return {**answer, **_measured(answer["pids"])} if args.get("measure") else answer

    instances = instances_from_wire(args["instances"])
    answers = map_at_once(look, instances)
    return {"slots": {str(instance.port): answer for instance, answer in zip(instances, answers)}}


@operation("instance.stop", longest=lambda args: float(args["instance"]["graceful"]) + 20.0)
def stop(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Stops one instance, empties its slot and takes it off the boot; `stopped` False: there was nothing to stop.

    Args:
        args: `site, run, instance`.
    """
    site, instance = Site.from_args(args), Instance.from_wire(args["instance"])
    unit, port = Unit(instance), instance.port
    release = links.release_at(site.slot(port))
    main = unit.main()
    entry = {"run": args["run"], "op": "stop", "instance": instance.index, "port": port, "release": release}
    ledger.append(site, {**entry, "event": "intent"})
    try:
        ctx.require_lease(f"stop {unit.name}")
        _stop(site, instance, unit, main)
    except OpError as failure:
        ledger.append(site, {**entry, "event": "outcome", "ok": False, "why": failure.message})
        raise
    emptied = links.empty_slot(site, port)
    unit.disable()
    unit.reset()
    ledger.append(site, {**entry, "event": "outcome", "ok": True, "why": ""})
    return {"stopped": bool(main) or emptied}


def _stop(site: Site, instance: Instance, unit: Unit, main: int) -> None:
    unit.close_port()
    known = procfs.process(main) if main else None
    deadline = time.monotonic() + unit.stop_bound
    wait_for_free_port(site, instance, unit, known, deadline, unit.stop())


def _proven(
    site: Site, instance: Instance, requested_release: str | None, after: float | None, patience: float
) -> dict[str, Any]:
    release = requested_release or links.release_at(site.slot(instance.port))
    if release is None:
        result = proof.Proof(False, "listen", "slot %d is not in use" % instance.port)
    else:
        result = proof.examine(site, instance, release, Unit(instance).main(), after, patience=patience)
    return {**result.as_dict(), "instance": instance.index}


def _measured(pids: list[int]) -> dict[str, Any]:
    began = [process.started for process in map(procfs.process, pids) if process is not None]
    return {"memory": procfs.memory(pids), "age": round(procfs.now() - min(began), 1) if began else 0.0}
