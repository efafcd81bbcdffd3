"""`deploy remove`: takes the app off hosts as gently as a push changes it. What it shares with releases stays.

    guard → drain → stop → the pools without it → its units → its releases, links and secrets

One host after the other, each to its end, so that the guard counts what is really left. Where all go, they go together,
and so does the balancers' part of the app. Every step may be repeated: a run that broke off is taken up by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deployer.agent.model.messages.host import SURVEY, LookAtHost
from deployer.agent.model.messages.site import UNINSTALL, Uninstall
from deployer.agent.model.resources import Absent, File
from deployer.errors import DeployError, NeedsPersonError, NotReadyError
from deployer.events import Output
from deployer.plan.facts import Facts
from deployer.plan.model import InstanceStep
from deployer.plan.rolling import adopting
from deployer.plan.rolling.slots import standing
from deployer.plan.topology import Topology, WebHost
from deployer.rollout.pools.pools import Pools
from deployer.rollout.rolling.capacity_guard import CapacityGuard
from deployer.rollout.rolling.transitions import clear_known, left
from deployer.rollout.run.connect import open_run
from deployer.rollout.run.invocation import Invocation
from deployer.rollout.run.locks import lock_site, require_not_frozen
from deployer.rollout.run.outcomes import translate_errors
from deployer.rollout.run.project import Project
from deployer.rollout.run.recording import recorded
from deployer.rollout.run.run import Run
from deployer.rollout.steps import resources
from deployer.rollout.steps.instances import Instances
from deployer.rollout.steps.processes import stop_processes
from deployer.rollout.steps.resources import HostResources
from deployer.rollout.steps.schedules import stop_schedules
from deployer.rollout.steps.survey import require_owned, survey, with_pools
from deployer.rollout.steps.takeover import led_here


@recorded
def remove(
    project: Project,
    invocation: Invocation,
    *,
    confirm: Callable[[str], None],
) -> None:
    """Takes the app off the hosts that the limit names, or off all.

    Args:
        confirm: asks a person; raises UsageError when the answer is no, or nobody can answer.

    Raises RolloutError when too few would be left (before that host is touched); NeedsPersonError when something could
    not be taken off: the same command goes on from there.
    """
    going = project.topology.web
    names = ", ".join(web.name for web in going)
    shared = ", ".join(dict.fromkeys(web.site.shared for web in going))
    app = project.topology.settings.app
    invocation.bus.flush()
    confirm(f"take {app} off {names} in {project.env}? Its releases and secrets are removed, {shared} stays")
    with open_run(project, invocation) as run:
        run.topology = _with_a_root(run)
        with lock_site(run, wait=invocation.wait):
            facts = _facts(run)
            require_not_frozen(run, facts)
            for host in run.topology.hosts:
                require_owned(run, facts, host.name)
            _require_nobody_led_here(run, facts)
            off = Off(run, facts, project.topology)
            off.require_ours()
            with translate_errors(NeedsPersonError, f"deploy remove {project.env} again goes on from there"):
                off.carry_out()
    invocation.bus.emit(Output(f"taken off {names}; what stays there: {shared}, and the history beside it"))
    if project.topology.spared:
        invocation.bus.emit(
            Output(
                f"take {names} out of the inventory now: until then deploy push {project.env} is refused, and "
                f"deploy setup {project.env} would bring it back"
            )
        )


class Off:
    """Takes the hosts of its run's topology off. The spared ones stay, and the balancers for them."""

    def __init__(self, run: Run, facts: Facts, everybody: Topology) -> None:
        self._run = run
        self._facts = facts
        self._shape = run.topology
        self._stays = bool(run.topology.spared)
        self._pools = standing(everybody, facts)

    def require_ours(self) -> None:
        """NotReadyError for a file that somebody has changed since it was written; nothing was touched."""
        resources.differences(self._run, [*self._units(self._shape.web), *self._without_pools()])

    def carry_out(self) -> None:
        """One host after the other, each to its end, where others stay; else all together."""
        going = self._shape.web
        batches = [(web,) for web in going] if self._stays and going else [going]
        for number, batch in enumerate(batches):
            self._run.check_interrupt()
            there = going[number:] if self._stays else going
            # A run before may have taken the app off the balancers already, and they know nothing of it.
            balancers = self._shape.balancers if self._facts.pools else ()
            self._stop(replace(self._run, topology=replace(self._shape, web=there, balancers=balancers)), batch)
            with self._run.step("resources") as note:
                pools = self._smaller_pools(there[1:]) if self._stays else self._without_pools()
                changed = resources.apply(self._run, [*pools, *self._units(batch)])
                note.detail = f"{len(changed)} changes"
            self._belongings(batch)
            for web in batch:
                self._run.record.host(web.name, "removed")

    def _stop(self, run: Run, batch: Sequence[WebHost]) -> None:
        """Drained at every balancer and stopped, if enough of those that are there serve."""
        pools = Pools(run)
        steps = [step for web in batch for step in self._slots(web)]
        used = [step for step in steps if step.before]
        if self._stays:
            CapacityGuard(run, pools).require_others([(step.host, step.port) for step in used])
        # The others run nothing, but a run that died may have left them to be started at the next boot.
        unused = [step for step in steps if not step.before]
        known = pools.known() if run.balancers else set()
        pools.retire([slot for slot in left(unused) if pools.name(slot) in known])
        instances = Instances(run, pools)
        stop_schedules(run, batch, self._facts)
        stop_processes(run, batch, self._facts)
        failed = clear_known(pools, instances, used) | instances.stop(unused, left=True)
        for error in failed.values():
            raise error

    def _slots(self, web: WebHost) -> list[InstanceStep]:
        """Every slot that the app has or had on a host; `before` is what it is linked to."""
        linked = self._facts[web.name].slots
        ports = sorted({*web.ports, *web.spare_ports, *linked})
        return [InstanceStep(web.name, web.index_of(port), port, "keep", linked.get(port), port) for port in ports]

    def _smaller_pools(self, others: Sequence[WebHost]) -> list[HostResources]:
        """The pools with `others` and those that stay.

        Where they are not as the settings have them, because these were changed and not pushed yet, their health checks
        are as between two releases: what stays must not fail a check that it does not know.
        """
        smaller = replace(self._shape, web=(), spared=(*others, *self._shape.spared))
        now = replace(self._shape, web=(), spared=self._shape.everywhere)
        leaving = [web.name for web in self._shape.everywhere if web not in smaller.spared]
        pools = self._pools.without(leaving)
        smaller_pools = resources.for_push(smaller, pools=pools)
        seen = (resources.for_push(now, pools=self._pools), smaller_pools)
        if all(resources.differences(self._run, wishes) for wishes in seen):
            return resources.for_push(smaller, lenient=True, pools=pools)
        return smaller_pools

    def _without_pools(self) -> list[HostResources]:
        """The app's part of every balancer, gone."""
        if self._stays or not self._shape.settings.balancer.manage:
            return []
        wishes = []
        for balancer in self._shape.balancers:
            adapter = self._shape.balancer_adapter
            removals = tuple(adapter.absent(self._shape.pool(balancer)))
            wishes.append(
                HostResources(balancer.name, removals, adapter.handlers(balancer.site, systemd=balancer.systemd))
            )
        return wishes

    def _units(self, hosts: Sequence[WebHost]) -> list[HostResources]:
        """The units of these hosts, gone."""
        wishes = []
        for web in hosts:
            supervisor = self._shape.supervisor(web)
            files = [item for item in supervisor.resources(self._shape.units(web)) if isinstance(item, File)]
            gone = tuple(Absent(file.path, file.notify) for file in files)
            wishes.append(HostResources(web.name, gone, supervisor.handlers(web.site)))
        return wishes

    def _belongings(self, batch: Sequence[WebHost]) -> None:
        balancers = [balancer.name for balancer in self._shape.balancers]
        hosts = [web.name for web in batch]
        hosts += [] if self._stays else [name for name in balancers if name not in hosts]
        balance = self._stays or not self._shape.settings.balancer.manage
        with self._run.step("remove", detail=", ".join(hosts)):
            self._run.run_on_hosts(
                hosts,
                UNINSTALL,
                lambda host: Uninstall(
                    site=self._run.site(host),
                    run=self._run.id,
                    who=self._run.who,
                    balances=balance and host in balancers,
                ),
                step="remove",
            )


def _require_nobody_led_here(run: Run, facts: Facts) -> None:
    """NotReadyError where the frontends of somebody else lead to the app: its pool would be missed by their HAProxy."""
    led = [] if run.topology.spared else [name for name, led in led_here(run, facts).items() if led]
    if led:
        raise NotReadyError(
            "frontends that deploy does not configure lead users to this app",
            host=led[0],
            step="remove",
            hint=f"lead them elsewhere first: {adopting.way_back(run.topology, facts)}",
            code="led_here",
        )


def _with_a_root(run: Run) -> Topology:
    """The topology without hosts where there is nothing of the app, not even its folder."""
    hosts = [web.name for web in run.topology.web]
    surveys = run.run_on_hosts(hosts, SURVEY, lambda host: LookAtHost(site=run.site(host), brief=True), step="survey")
    return replace(run.topology, web=tuple(web for web in run.topology.web if surveys[web.name]["exists"]))


def _facts(run: Run) -> Facts:
    """Facts, with those of the balancers as far as these still know the app: an earlier run may have ended so."""
    facts = survey(run)
    try:
        Pools(run).recover()
        return with_pools(run, facts)
    except DeployError:
        if run.topology.spared or any(facts[web.name].slots for web in run.topology.web):
            raise
        return facts
