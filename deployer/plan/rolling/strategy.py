"""Which strategy a run follows: as the settings say, refused where it is unsafe; else the best one, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deployer.errors import SettingsError
from deployer.plan.facts import Facts
from deployer.plan.model import Action, InstanceStep
from deployer.plan.rolling.waves import size_of
from deployer.plan.topology import Topology

Name = Literal["restart", "bluegreen", "socket", "reload"]

_ACTIONS: Mapping[Name, Action] = {
    "restart": "restart",
    "socket": "restart",
    "bluegreen": "replace",
    "reload": "reload",
}


@dataclass(frozen=True)
class Strategy:
    """What was chosen. `action` is what it does to an instance that serves; `why` is one line for the plan."""

    name: Name
    why: str

    @property
    def action(self) -> Action:
        return _ACTIONS[self.name]


def choose(
    topology: Topology,
    *,
    nothing_serves: bool = False,
    moves: bool = False,
    all_at_once: bool = False,
    out: int = 0,
    no_reload: str = "",
) -> Strategy:
    """Return the strategy of a run.

    Raises SettingsError for a configured one that would lose requests, with the reason.

    `moves`: what serves does so at ports, or on hosts, that settings and inventory no longer have. `out` are
    instances that a person took out of the pools: they are missing for as long as the run goes. `no_reload`: what
    keeps this run from being a reload in place, in words; empty when nothing does.
    """
    strategy = topology.settings.rolling.strategy
    if strategy == "bluegreen" and not topology.balancers:
        raise SettingsError(
            "rolling.strategy: bluegreen needs a balancer, which moves requests from one slot to the other",
            hint="add a group `balancers` to the inventory (the app's own host may be in it), or write restart",
        )
    if strategy == "socket" and topology.why_no_socket:
        raise SettingsError(
            f"rolling.strategy: socket needs systemd to hold the ports, and {topology.why_no_socket}",
            hint="add a group `balancers` to the inventory (the app's own host may be in it), or write auto",
        )
    held = topology.holds_ports
    in_place: Name = "socket" if held else "restart"
    if nothing_serves:
        return Strategy(in_place, "nothing serves yet, so all instances start together")
    if moves:
        return Strategy(in_place, "each instance starts at its new address, beside the previous one")
    if strategy == "reload":
        before = f", drained at {topology.kind} before" if topology.balancers and topology.drains("reload") else ""
        return Strategy(
            "reload", f"as configured: workers are replaced under their master, its port stays open{before}"
        )
    if all_at_once:
        return Strategy(in_place, "all instances restart together, as configured")
    if strategy == "bluegreen":
        return Strategy(
            "bluegreen", "as configured: each successor is proven beside its predecessor, capacity never falls"
        )
    if strategy == "socket":
        drained = f", drained at {topology.kind} before" if topology.balancers else ""
        return Strategy("socket", f"as configured: systemd holds the port while an instance restarts{drained}")
    if not topology.balancers:
        none = "no balancer can drain an instance"
        if held:
            return Strategy("socket", f"{none}; systemd holds the port while it restarts, so requests wait")
        if strategy != "auto":
            return Strategy("restart", none)
        if topology.runtime.race:
            return Strategy("restart", f"{none}, and {topology.why_no_socket}")
        if no_reload:
            return Strategy("restart", f"{none}, {topology.why_no_socket}, and no reload can be: {no_reload}")
        return Strategy("reload", f"{none}; {topology.served_by} replaces its workers while its port stays open")
    if strategy == "restart":
        return Strategy("restart", f"as configured: each instance is drained at {topology.kind} before it stops")
    too_many = _too_many_to_lose(topology, out)
    if too_many:
        return Strategy("bluegreen", f"{too_many}: each successor is proven beside its predecessor")
    return Strategy("restart", f"each instance is drained at {topology.kind} before it stops")


def _too_many_to_lose(topology: Topology, out: int) -> str:
    """Return why no instance may be taken out while it restarts; empty when one may."""
    if topology.instances == 1:
        return "there is one instance only"
    most = size_of(topology.settings.rolling.max_unavailable, topology.instances)
    if most == 0:
        return "max_unavailable is 0"
    if out >= max(1, most):
        return f"{out} of {topology.instances} instances are held out or out of reach, and no more may be missing"
    return ""


def risks(topology: Topology, facts: Facts, waves: Sequence[Sequence[InstanceStep]], strategy: Strategy) -> list[str]:
    """Return what a person should know before this plan runs."""
    warnings = []
    if not topology.balancers and topology.settings.domains:
        names = ", ".join(topology.settings.domains)
        warnings.append(
            f"nothing serves {names} at port 80: no balancer host exists, and instances listen at their own ports"
        )
    if strategy.name == "reload" and topology.runtime.race and not (topology.balancers and topology.drains("reload")):
        warnings.append(_race(topology))
    restarting = [sum(step.action == "restart" for step in wave) for wave in waves]
    if not any(restarting):
        return warnings
    if not topology.balancers:
        warnings += _without_a_balancer(topology, facts, waves, strategy)
    elif topology.instances == 1:
        warnings.append("there is only one instance: while it restarts, the balancer has no server")
    elif max(restarting) == topology.instances:
        warnings.append("all instances restart together: meanwhile the balancer has no server")
    return warnings


def _without_a_balancer(
    topology: Topology, facts: Facts, waves: Sequence[Sequence[InstanceStep]], strategy: Strategy
) -> list[str]:
    """Return what users may notice of instances that restart in place."""
    if strategy.name != "socket":
        return ["without a balancer, requests are refused while an instance restarts"]
    warnings = []
    steps = [step for wave in waves for step in wave if step.action == "restart"]
    plain = [step.name for step in steps if not facts[step.host].holds_port(step.port)]
    if plain:
        warnings.append(
            f"systemd takes the port of {', '.join(plain)} over: requests are refused this once, while it stops"
        )
    if topology.runtime.race:
        warnings.append(_race(topology))
    return warnings


def _race(topology: Topology) -> str:
    better = "rolling.strategy: bluegreen" if topology.balancers else "a balancer on the same host (group `balancers`)"
    return (
        f"{topology.served_by} closes connections that it has not read from yet when it stops, so a request at that "
        f"moment may fail; {better} avoids this"
    )
