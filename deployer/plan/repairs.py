"""Which virtualenvs are built again before a run stops anything."""

from __future__ import annotations

from deployer.plan.facts import Facts
from deployer.plan.model import VenvRepair
from deployer.plan.topology import Topology


def venv_repairs(release: str, topology: Topology, facts: Facts) -> tuple[VenvRepair, ...]:
    """Return the damaged virtualenvs of the release to go to, and of those that a host serves and may have to go back
    to."""
    repairs = []
    for web in topology.builders:
        host = facts[web.name]
        serving = [instance.release for instance in (*host.serving.values(), *host.beside.values())]
        for name in dict.fromkeys([release, *(served for served in serving if served)]):
            known = host.release(name)
            if known is not None and known.complete and known.damage:
                repairs.append(VenvRepair(web.name, name, known.damage))
    return tuple(repairs)
