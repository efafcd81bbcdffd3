"""What the inventory says otherwise than the settings, or says to no effect."""

from __future__ import annotations

from deployer.plan.topology import Topology
from deployer.settings.validation_errors import nearest


def inventory_remarks(topology: Topology) -> list[str]:
    """One sentence per host variable that a person may not have meant."""
    return [*_misspelt(topology), *_other_listen(topology)]


def _misspelt(topology: Topology) -> list[str]:
    """Overrides for an app of almost this name, which count for another app."""
    app = topology.settings.app
    remarks = {}
    for host in topology.hosts:
        written = host.variables.get("deploy")
        names = [str(name) for name in written] if isinstance(written, dict) else []
        near = nearest(app, names) if app not in names else None
        if near:
            remarks[f"the variable deploy: has {near}, and this app is {app}"] = host.name
    return [f"{host}: {remark}: its values are ignored" for remark, host in remarks.items()]


def _other_listen(topology: Topology) -> list[str]:
    """Where `deploy_listen` replaces an address that the settings name."""
    wanted = topology.settings.balancer
    if "listen" not in wanted.model_fields_set:
        return []
    return [
        f"{balancer.name}: the balancer listens at {listen}, as deploy_listen in the inventory sets it, not at "
        f"balancer.listen ({wanted.listen})"
        for balancer in topology.balancers
        if (listen := str(balancer.host.variables.get("deploy_listen", wanted.listen))) != wanted.listen
    ]
