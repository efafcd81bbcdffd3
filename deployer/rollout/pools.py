"""The app's servers at every balancer: taken out, put back, looked at. All balancers are told, or it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployer.errors import RolloutError
from deployer.plan.model import InstanceStep
from deployer.rollout.run import Run

FRESH_S = 3.5
"""A balancer's agent has to have been heard of within this many seconds before an instance is stopped."""


class Pools:
    """The balancers of a run. Without balancers every call is a quick no."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._drivers = {
            balancer.name: run.topology.balancer_adapter.driver(run.topology.pool(balancer))
            for balancer in run.topology.balancers
        }
        self._watched = False

    def watch(self) -> None:
        """Arms the watchdog on every balancer host, once a run, before anything is drained."""
        if self._watched or not self._run.balancers:
            return
        bound = self._run.topology.longest_step
        self._each("balancer.watch", {"bound": bound}, "watch")
        self._watched = True

    def drain(self, steps: Sequence[InstanceStep], *, by: str = "run", reason: str = "") -> None:
        """Takes the servers of `steps` out everywhere and waits until their requests are done or time is up."""
        if not steps or not self._run.balancers:
            return
        self.watch()
        timeout = self._run.topology.settings.rolling.drain_timeout
        args = {
            "servers": self._names(steps),
            "timeout": timeout,
            "by": by,
            "reason": reason or f"run {self._run.id} changes it",
        }
        with self._run.step("drain", instance=_names(steps)) as note:
            answers = self._each("balancer.drain", args, "drain")
            left = sum(server.get("remaining", 0) for each in answers.values() for server in each["servers"].values())
            if left:
                note.detail = f"{left} connections outlived {timeout:g} s"

    def admit(self, steps: Sequence[InstanceStep]) -> None:
        """Puts the servers of `steps` back everywhere and waits for each balancer's own UP.

        They are proven, so a quarantine ends here. What a person took out stays out, and is said.
        """
        if not steps or not self._run.balancers:
            return
        with self._run.step("admit", instance=_names(steps)) as note:
            held = self._admitted(self._names(steps), force=False)
            quarantined = [name for name, by in held.items() if by == "quarantine"]
            if quarantined:
                self._admitted(quarantined, force=True)
            others = sorted(set(held) - set(quarantined))
            if others:
                note.detail = f"left out, as a person asked: {', '.join(others)}"

    def _admitted(self, servers: list[str], *, force: bool) -> dict[str, str]:
        """Admits at every balancer; returns the servers that are still held out, and by whom."""
        wait = self._run.topology.settings.health.within
        answers = self._each("balancer.admit", {"servers": servers, "wait": wait, "by": "run", "force": force}, "admit")
        return {
            name: str(state["held"]["by"])
            for answer in answers.values()
            for name, state in answer["servers"].items()
            if state.get("held")
        }

    def recover(self) -> list[str]:
        """What dead runs left drained is admitted. Call only under the lock. Returns the servers' names."""
        if not self._run.balancers:
            return []
        answers = self._each("balancer.recover", {}, "recover")
        return sorted({name for answer in answers.values() for name in answer.get("admitted", ())})

    def states(self) -> dict[str, dict[str, Any]]:
        """Every balancer's view of this app's servers: balancer → server → state."""
        answers = self._each("balancer.state", {}, "state")
        return {host: answer["servers"] for host, answer in answers.items()}

    def require_fresh(self) -> None:
        """RolloutError unless every balancer's agent was heard of a moment ago: only then may an instance stop."""
        for balancer in self._run.balancers:
            silent = self._run.fleet[balancer].fresh_for()
            if silent > FRESH_S:
                raise RolloutError(
                    f"the balancer host was not heard of for {silent:.1f} s, so nothing is stopped",
                    host=balancer,
                    step="switch",
                    hint="check the connection to it and push again",
                )

    def _names(self, steps: Sequence[InstanceStep]) -> list[str]:
        return [self._run.topology.server(step.host, step.port) for step in steps]

    def _each(self, operation: str, args: dict[str, Any], step: str) -> dict[str, dict[str, Any]]:
        return self._run.each(
            self._run.balancers,
            operation,
            lambda host: {"run": self._run.id, "driver": self._drivers[host], **args},
            step=step,
        )


def _names(steps: Sequence[InstanceStep]) -> str:
    return ", ".join(step.name for step in steps)
