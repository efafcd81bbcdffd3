"""Pools that deploy does not configure: whether they send requests where the inventory has each server, and only there.

Nothing is written to such a balancer, so an address changes there by the hands of its owner. What can be seen before a
run is refused here; `balancer.drain` refuses the same on the balancer's host, whatever asks for a drain.
"""

from __future__ import annotations

from deployer.errors import NotReadyError
from deployer.plan.facts import Facts
from deployer.plan.rolling.slots import used_ports
from deployer.plan.topology import Topology
from deployer.rollout.pools.pools import Pools
from deployer.rollout.run.run import Run

_STEP = "addresses"


def require_current_pools(run: Run, facts: Facts) -> None:
    """NotReadyError for a server that a pool lacks, or still has at an earlier address.

    Nothing is asked where deploy writes the pools. The pool behind commands is asked by their `state`.
    """
    topology = run.topology
    if not topology.balancers or topology.configures_pools:
        return
    names = [topology.server(web.name, port) for web in topology.web for port in used_ports(web, facts)]
    for balancer, servers in facts.pools.items():
        for name in names:
            if name not in servers:
                raise _missing(topology, balancer, name)
    for balancer, others in Pools(run).elsewhere(names).items():
        for name, places in others.items():
            raise _elsewhere(topology, balancer, name, places)


def _missing(topology: Topology, balancer: str, name: str) -> NotReadyError:
    backend, place = topology.settings.balancer.backend, topology.places[name]
    return NotReadyError(
        f"the backend {backend} has no server at {place}, where the inventory has {topology.instance_of(name)}",
        host=balancer,
        step=_STEP,
        cause="balancer.manage is false, so deploy writes nothing there",
        hint=f"add {place} to the backend {backend} on {balancer}, or correct the address in the inventory",
        code="not_in_pool",
    )


def _elsewhere(topology: Topology, balancer: str, name: str, places: list[str]) -> NotReadyError:
    instance, place = topology.instance_of(name), topology.places[name]
    return NotReadyError(
        f"the balancer sends requests for {instance} to {', '.join(places)} too, where no drain would stop them",
        host=balancer,
        step=_STEP,
        cause=f"the inventory has it at {place}, and deploy does not configure this balancer",
        hint=f"have the balancer send requests to {place} alone; none is lost, since both reach the same instance",
        code="old_address",
    )
