"""What has to happen to each instance, so that it serves the release that a run goes to."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from deployer.plan.draft import DesiredRelease
from deployer.plan.facts import Facts, Serving
from deployer.plan.model import Action, InstanceStep
from deployer.plan.rolling.slots import used_ports
from deployer.plan.rolling.strategy import Strategy
from deployer.plan.topology import Topology, WebHost


def instance_steps(
    desired: DesiredRelease, topology: Topology, facts: Facts, strategy: Strategy, elsewhere: Set[str] = frozenset()
) -> tuple[list[InstanceStep], list[InstanceStep]]:
    """Return the instances that change, and those that stay as they are.

    `elsewhere` are servers that come to another address, for which there has to be a wave.
    """
    steps = [instance.step(desired, strategy) for instance in _instances(topology, facts, elsewhere)]
    return [step for step in steps if step.action != "keep"], [step for step in steps if step.action == "keep"]


@dataclass(frozen=True)
class _Instance:
    """One instance as it is. `used` is the slot that it is in; `beside` is what serves in its other slot.

    `held_as_wanted`: the supervisor holds its port if it is to. `unknown`: its name or place is new to a balancer,
    which waits to be told that it serves.
    """

    web: WebHost
    index: int
    used: int
    serving: Serving | None
    beside: Serving | None
    quarantined: bool
    held_as_wanted: bool
    unknown: bool

    def step(self, desired: DesiredRelease, strategy: Strategy) -> InstanceStep:
        """Return what happens to it; one that is quarantined has to go through a wave to come back, whatever it
        serves."""
        serving, beside = self.serving, self.beside
        if beside and _serves(beside, desired):
            return self._becomes("settle", beside.port, self.used)
        if beside and _serves(serving, desired):
            return self._becomes("settle", self.used, beside.port)
        if not beside and not self.quarantined:
            if _serves(serving, desired) and (self.held_as_wanted or strategy.action == "reload"):
                return self._becomes("settle" if self.unknown else "keep", self.used)
            if strategy.action == "reload" and serving and serving.proven:
                return self._becomes("reload", self.used)
        if serving and serving.release and strategy.action == "replace":
            return self._becomes("replace", self.web.other(self.used), self.used)
        action: Action = "restart" if serving and serving.release else "start"
        return self._becomes(action, self.used, beside.port if beside else None)

    def _becomes(self, action: Action, port: int, leaves: int | None = None) -> InstanceStep:
        before = self.serving.release if self.serving else None
        return InstanceStep(self.web.name, self.index, port, action, before, leaves)


def _instances(topology: Topology, facts: Facts, elsewhere: Set[str]) -> Iterator[_Instance]:
    held, unknown = facts.held(), facts.unexplained() | elsewhere
    for web in topology.web:
        host = facts[web.name]
        for index, used in enumerate(used_ports(web, facts)):
            server = topology.server(web.name, used)
            yield _Instance(
                web,
                index,
                used,
                serving=host.serving.get(index),
                beside=host.beside.get(index),
                quarantined=server in held and held[server]["by"] == "quarantine",
                held_as_wanted=topology.holds_ports == host.holds_port(used),
                unknown=server in unknown,
            )


def _serves(serving: Serving | None, desired: DesiredRelease) -> bool:
    return bool(serving and serving.proven and serving.release == desired.release and not desired.restart)
