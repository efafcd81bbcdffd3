"""Instances on their hosts: switched, proven, stopped. Hosts work at the same time, the instances of one in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from deployer.agent.model.messages import instances as wire
from deployer.agent.model.supervision import Instance
from deployer.agent.model.typed import Wire
from deployer.errors import DeployError, RolloutError
from deployer.plan.model import InstanceStep
from deployer.remote.errors import AgentError, SessionLost
from deployer.rollout.pools.pools import Pools, Slot
from deployer.rollout.run.parallel import by_host, map_hosts
from deployer.rollout.run.run import Run
from deployer.rollout.steps.log_reader import last_words

Failures = dict[InstanceStep, DeployError]
Work = Callable[[InstanceStep], None]


class Instances:
    """What a run does to instances, each call by the agent of its host.

    The balancers are told before anything is switched or stopped, and asked before each single one; where they refuse,
    it is left untouched.
    """

    def __init__(self, run: Run, pools: Pools) -> None:
        self._run = run
        self._pools = pools
        self._watched: dict[InstanceStep, frozenset[int]] = {}

    def switch(self, steps: Sequence[InstanceStep], release: str, *, via: str) -> Failures:
        """Each instance to `release`: stop, link, start, prove. Returns those that failed; the agent undid them."""
        out = self._pools.leaving([step for step in steps if not step.beside])
        return self._on_hosts(steps, out, lambda step: self._switch(step, release, via))

    def switch_back(self, steps: Sequence[InstanceStep]) -> Failures:
        """Each instance to the release that it served before the run, in its slot of then."""
        out = self._pools.leaving([step for step in steps if not step.beside])
        return self._on_hosts(steps, out, lambda step: self._switch(step, str(step.before), "restore"))

    def stop(self, steps: Sequence[InstanceStep], *, left: bool = False) -> Failures:
        """Each instance down and its slot emptied: the way back of a first push. `left`: the slots that steps leave."""
        out = [(step.host, port) for step in steps if (port := step.leaves if left else step.port) is not None]
        return self._on_hosts(steps, out, lambda step: self._stop(step, left))

    def soak(self, steps: Sequence[InstanceStep], release: str) -> None:
        """Watches admitted instances for `rolling.soak` seconds.

        RolloutError when one stops proving, or when its processes are replaced: a master that restarts dying workers
        keeps its port and looks healthy, and its users do not.
        """
        settings = self._run.topology.settings
        if not steps or settings.rolling.soak <= 0:
            return
        names = ", ".join(step.name for step in steps)
        with self._run.step("soak", instance=names) as note:
            first = self._proven(steps, release, "soak")
            self._watched |= first
            until = time.monotonic() + settings.rolling.soak
            while (left := until - time.monotonic()) > 0 and not self._run.stop.is_set():
                self._run.stop.wait(min(1.0, left))
                now = self._proven(steps, release, "soak")
                if not settings.runtime.max_requests:
                    self._require_same_processes(first, now, "while it was watched")
            note.detail = f"watched for {settings.rolling.soak:g} s"

    def require_alive(self, steps: Sequence[InstanceStep], release: str) -> None:
        """RolloutError unless instances that were changed earlier still serve, by the processes that proved it.

        What dies after its soak is noticed here, before the next one is taken out for it.
        """
        if not steps:
            return
        now = self._proven(steps, release, "wave")
        if not self._run.topology.settings.runtime.max_requests:
            watched = {step: pids for step, pids in self._watched.items() if step in now}
            self._require_same_processes(watched, now, "after it was watched")

    def _proven(self, steps: Sequence[InstanceStep], release: str, when: str) -> dict[InstanceStep, frozenset[int]]:
        """The processes of every instance; RolloutError for the first that does not prove `release`, with its log."""
        answers = self.prove(steps, release)
        for step in steps:
            state = answers[step.host][str(step.port)]
            if not state["proven"]:
                raise RolloutError(
                    f"{step.name} no longer serves {release}",
                    host=step.host,
                    step=when,
                    cause=state["why"],
                    log=self._log(step),
                )
        return {step: frozenset(answers[step.host][str(step.port)]["pids"]) for step in steps}

    def _require_same_processes(
        self, first: dict[InstanceStep, frozenset[int]], now: dict[InstanceStep, frozenset[int]], when: str
    ) -> None:
        for step, pids in first.items():
            gone = sorted(pids - now[step])
            if gone:
                raise RolloutError(
                    f"processes of {step.name} died {when} (pid {', '.join(map(str, gone))})",
                    host=step.host,
                    step="soak",
                    log=self._log(step),
                    hint="the app's last log lines say why; everything was put back",
                    code="died",
                )

    def prove(self, steps: Sequence[InstanceStep], release: str) -> dict[str, dict[str, wire.SlotState]]:
        """Host → port → {proven, why, pids, release}."""
        hosts, topology = by_host(steps), self._run.topology
        # Where requests waited meanwhile, a health check waits behind them.
        waited = topology.holds_ports or any(step.action == "reload" for step in steps)
        answers = self._run.run_on_hosts(
            list(hosts),
            wire.PROVE,
            lambda host: wire.ProveInstances(
                site=self._run.site(host),
                instances=[self._wire(step) for step in hosts[host]],
                release=release,
                patience=topology.settings.health.within if waited else 0.0,
            ),
            step="prove",
        )
        return {host: answer["slots"] for host, answer in answers.items()}

    @staticmethod
    def is_restored(error: DeployError) -> bool:
        """Whether the agent brought the instance back to what it served before."""
        return isinstance(error, AgentError) and bool(error.detail.get("restored"))

    @staticmethod
    def is_lost(step: InstanceStep, error: DeployError) -> bool:
        """Whether the instance's own host was lost, and not a balancer that was asked about it."""
        return isinstance(error, SessionLost) and error.host in (None, step.host)

    def _switch(self, step: InstanceStep, release: str, via: str) -> None:
        # The agent goes back by itself to what the same slot had: beside what serves, that is nothing.
        previous = None if via == "restore" or step.beside else step.before
        with self._run.step("switch", host=step.host, instance=step.name, detail=release) as note:
            answer = self._run.call(
                step.host,
                wire.SWITCH,
                wire.SwitchInstance(
                    site=self._run.site(step.host),
                    run=self._run.id,
                    instance=self._wire(step),
                    release=release,
                    previous=previous,
                    via=via,
                    reload=self._reload(step),
                ),
                step="switch",
            )
            note.detail = f"{release} proven by {len(answer['pids'])} processes"
        state = "restored" if via == "restore" else "proven"
        self._run.record.instance(step.host, step.index, step.port, release, state)

    def _reload(self, step: InstanceStep) -> wire.ReloadInPlace | None:
        if step.action != "reload":
            return None
        topology = self._run.topology
        insisted = topology.settings.rolling.strategy == "reload"
        return {"check": list(topology.runtime.reload_check), "or_restart": not insisted}

    def _stop(self, step: InstanceStep, left: bool) -> None:
        port = step.leaves if left else step.port
        with self._run.step("stop", host=step.host, instance=step.name, detail=f"port {port}"):
            request = wire.StopInstance(
                site=self._run.site(step.host), run=self._run.id, instance=self._wire(step, port)
            )
            self._run.call(step.host, wire.STOP, request, step="stop")
        if not left:
            self._run.record.instance(step.host, step.index, step.port, None, "stopped")

    def _log(self, step: InstanceStep) -> list[str]:
        web = self._run.topology.web_host(step.host)
        return last_words(self._run, step.host, self._run.topology.instance(web, step.index, step.port).verbs)

    def _wire(self, step: InstanceStep, port: int | None = None) -> Wire[Instance]:
        web = self._run.topology.web_host(step.host)
        return self._run.topology.instance(web, step.index, step.port if port is None else port, step.bind).to_wire()

    def _on_hosts(self, steps: Sequence[InstanceStep], out: Sequence[Slot], work: Work) -> Failures:
        """`work` for every step, once all of `out` are out of the pools; the balancers know from when to when."""
        if not steps:
            return {}
        try:
            self._pools.expect_stops(out)
        except DeployError as error:
            self._pools.expect_none(())
            return {step: _untouched(step, error) for step in steps}
        failures = self._in_turn(steps, work)
        self._pools.expect_none(failures.values())
        return failures

    def _in_turn(self, steps: Sequence[InstanceStep], work: Work) -> Failures:
        """Hosts at the same time, one host's steps in turn until one fails."""
        hosts = by_host(steps)

        def one_host(host: str) -> Failures:
            for position, step in enumerate(hosts[host]):
                try:
                    self._pools.require_fresh()
                except DeployError as error:
                    return {other: _untouched(other, error) for other in hosts[host][position:]}
                try:
                    work(step)
                except DeployError as error:
                    self._run.record.instance(step.host, step.index, step.port, step.before, "failed")
                    untouched = hosts[host][position + 1 :]
                    return {step: error} | {other: _untouched(other, error) for other in untouched}
            return {}

        done, failed = map_hosts(list(hosts), one_host)
        failures: Failures = {}
        for host, mine in hosts.items():
            failures |= done.get(host, {})
            if host in failed:
                failures |= dict.fromkeys(mine, failed[host])
        return failures


def _untouched(step: InstanceStep, error: DeployError) -> DeployError:
    """For instances behind a failed one on the same host: nothing was done to them, so nothing is to be undone."""
    detail = {"restored": True, "serving": step.before}
    return AgentError("not_begun", f"not begun, since {error.message}", detail=detail, host=error.host)
