"""Operations on instances: switch to a release, prove, stop, show the log."""

from __future__ import annotations

import time

from deployer.agent.instance import proof
from deployer.agent.instance.reload import Reload
from deployer.agent.instance.switch import Switch
from deployer.agent.instance.unit import Unit
from deployer.agent.instance.wait import wait_for_free_port
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import instances as wire
from deployer.agent.model.supervision import Instance, instances_from_wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import ledger, links
from deployer.agent.system import procfs
from deployer.agent.system.threads import map_at_once


@operation(wire.SWITCH, longest=lambda request: Instance.from_wire(request["instance"]).longest_switch)
def switch(ctx: Context, request: wire.SwitchInstance) -> wire.InstanceSwitched:
    """Makes one instance serve a release, and goes back to `previous` when that fails.

    Raises:
        OpError: `port_taken`, `did_not_stop`, `did_not_start`, `unhealthy`, `lease_lost`, `cancelled`; detail:
            `restored`, `serving` (a release or null), `undo` (why the way back failed). `cannot_reload`,
            `check_failed`, `incomplete`: nothing was touched.
    """
    site, instance = Site.of(request), Instance.from_wire(request["instance"])
    in_place = request.get("reload")
    hup = Reload.requested(ctx, site, instance, in_place) if in_place else None
    return Switch(ctx, site, request["run"], instance, hup).to(
        request["release"], request.get("previous"), request.get("via", "push")
    )


@operation(wire.PROVE)
def prove(ctx: Context, request: wire.ProveInstances) -> wire.InstancesProven:
    """Looks once at every instance, all at the same time; changes nothing."""
    site = Site.of(request)
    release, after, patience = request.get("release"), request.get("started_after"), float(request.get("patience") or 0)

    def look(instance: Instance) -> wire.SlotState:
        answer = _proven(site, instance, release, after, patience)
        if request.get("measure"):
            _measure(answer)
        return answer

    instances = instances_from_wire(request["instances"])
    answers = map_at_once(look, instances)
    return {"slots": {str(instance.port): answer for instance, answer in zip(instances, answers)}}


@operation(wire.STOP, longest=lambda request: Instance.from_wire(request["instance"]).graceful + 20.0)
def stop(ctx: Context, request: wire.StopInstance) -> wire.Stopped:
    """Stops one instance, empties its slot and takes it off the boot.

    Raises:
        OpError: `did_not_stop`, `lease_lost`.
    """
    site, instance = Site.of(request), Instance.from_wire(request["instance"])
    unit, port = Unit(instance), instance.port
    release = links.release_at(site.slot(port))
    main = unit.main()
    entry: ledger.Entry = {"run": request["run"], "op": "stop", "instance": instance.index, "port": port}
    entry["release"] = release
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
) -> wire.SlotState:
    release = requested_release or links.release_at(site.slot(instance.port))
    if release is None:
        result = proof.Proof(False, "listen", "slot %d is not in use" % instance.port)
    else:
        result = proof.examine(site, instance, release, Unit(instance).main(), after, patience=patience)
    return result.as_state(instance.index)


def _measure(state: wire.SlotState) -> None:
    began = [process.started for process in map(procfs.process, state["pids"]) if process is not None]
    state["memory"] = procfs.memory(state["pids"])
    state["age"] = round(procfs.now() - min(began), 1) if began else 0.0
