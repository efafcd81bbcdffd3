"""What hosts should have (roles, units, pools) compared with what they have, and made so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from deployer.agent.model.layout import Site
from deployer.agent.model.messages import resources as wire
from deployer.agent.model.resources import Listener, Resource, Service, to_wire
from deployer.agent.model.supervision import Argv
from deployer.agent.model.typed import Wire
from deployer.agent.provisioning.snapshot import PARTS, POOLS, UNITS
from deployer.balancers.base import Pool
from deployer.errors import NotReadyError
from deployer.events import Output
from deployer.inventory.model import Host
from deployer.plan.facts import Facts
from deployer.plan.model import FileChange
from deployer.plan.rolling.slots import Standing, standing
from deployer.plan.topology import BalancerHost, Topology
from deployer.roles import Adapters, setup_resources
from deployer.rollout.pools.health_change import as_served
from deployer.rollout.run.project import Project
from deployer.rollout.run.run import Run

Handlers = Mapping[str, Sequence[Argv]]


@dataclass(frozen=True)
class HostResources:
    """What one host should have: resources in the order to apply them, and the handlers they may notify.

    `keep` is the run for which files stay beside as they were, until that run has ended (`put_back_on_failure`); `part`
    is which of the host's two these are (`agent.provisioning.snapshot`).
    """

    host: str
    resources: tuple[Resource, ...]
    handlers: Handlers
    keep: str = ""
    part: str = UNITS

    def request(self, site: Wire[Site], *, dry_run: bool, replace: bool) -> wire.ApplyResources:
        """The request that compares them with the host, or makes them so."""
        return wire.ApplyResources(
            site=site,
            resources=[to_wire(resource) for resource in self.resources],
            handlers={name: [list(argv) for argv in commands] for name, commands in self.handlers.items()},
            dry_run=dry_run,
            replace=replace,
            keep=self.keep,
            part=self.part,
        )


def for_setup(project: Project, facts: Facts | None = None, *, lenient: bool = False) -> list[HostResources]:
    """Everything that `setup` makes of every host: roles with units and pools; `lenient` as of `for_push`."""
    topology = project.topology
    wishes = []
    # A pool only shrinks in a push, once those that stay have been seen to serve; and its servers come to other
    # addresses in one, instance by instance.
    pools = standing(topology, facts) if facts else Standing()
    served_topology = as_served(topology, facts) if facts and lenient else topology
    for balancer in topology.balancers:
        managed = topology.settings.balancer.manage
        adapters = Adapters(
            balancer=topology.balancer_adapter if managed else None,
            pools=(_pool(served_topology, balancer, pools, lenient),) if managed else (),
            systemd=balancer.systemd,
        )
        wishes.append(_wish(project, "balancers", balancer.host, adapters, facts))
    for web in topology.web:
        adapters = Adapters(supervisor=topology.supervisor(web), unit=topology.units(web), systemd=not web.host.prefix)
        wishes.append(_wish(project, "web", web.host, adapters, facts))
    return wishes


def for_push(
    topology: Topology, *, lenient: bool = False, pools: Standing | None = None, keep: str = ""
) -> list[HostResources]:
    """What every push keeps in order: the units of web hosts, the pool of balancer hosts, and that both start at boot.

    `pools` is what stays as the balancers know it, for now.

    `lenient`: the balancers' health checks accept every status below 500. Between two releases that are asked for their
    health in different ways one of them answers 404 to the other's path, and serves its users well. (Each instance is
    proven by its release's own path.)

    `keep`: the run that may put all that back.
    """
    wishes = []
    for balancer in topology.balancers if topology.settings.balancer.manage else ():
        adapter = topology.balancer_adapter
        pool = _pool(topology, balancer, pools or Standing(), lenient)
        handlers = adapter.handlers(balancer.site, systemd=balancer.systemd)
        services = _enabled_services(adapter.base(balancer.site, systemd=True)) if balancer.systemd else ()
        # The sockets of a balancer that runs are setup's to mend; new ones come with the changed configuration.
        files = [item for item in adapter.resources(pool) if not isinstance(item, Listener)]
        wishes.append(HostResources(balancer.name, (*files, *services), handlers, keep, POOLS))
    for web in topology.web:
        supervisor = topology.supervisor(web)
        units = tuple(supervisor.resources(topology.units(web)))
        wishes.append(HostResources(web.name, units, supervisor.handlers(web.site), keep))
    return wishes


def _enabled_services(resources: Iterable[Resource]) -> tuple[Service, ...]:
    """The services among the resources, enabled at boot; a push never starts one that a person has stopped."""
    return tuple(replace(item, running=False) for item in resources if isinstance(item, Service))


def _pool(topology: Topology, balancer: BalancerHost, pools: Standing, lenient: bool) -> Pool:
    pool = topology.pool(balancer, pools.others, pools.known)
    return replace(pool, health=replace(pool.health, lenient=lenient))


def differences(run: Run, wishes: Sequence[HostResources], *, replace: bool = False) -> list[FileChange]:
    """What applying would change; nothing is changed. NotReadyError for what we did not create, unless `replace`."""
    changes = []
    for wish, answer in _apply(run, wishes, dry_run=True, replace=replace):
        refused = answer["refused"]
        if refused and not replace:
            first = refused[0]
            raise NotReadyError(
                _refused(first),
                host=wish.host,
                step="resources",
                log=first["diff"].splitlines(),
                hint=first["hint"].replace("{host}", wish.host)
                or f"look at the diff; deploy setup {run.topology.env} --replace takes it over",
            )
        changes += _changes(wish, answer)
    return changes


def _refused(refusal: wire.ResourceRefusal) -> str:
    """One sentence for a refusal of `resource.apply`. One about another path than its own names that path itself."""
    name, why = refusal["name"], refusal["why"]
    return f"{name} cannot be made: {why}" if why.startswith("/") else f"{name} is not ours to change: {why}"


def asks_leniently(run: Run, facts: Facts, *, replace: bool = False) -> bool:
    """Whether the balancers have to go on accepting what another release answers, before and after the run.

    So where one serves, by what hosts say; and, where the run leaves hosts out, unless the pools are as today's
    settings have them already.
    """
    if facts.health_check_digests() - {run.topology.health_check_digest, ""}:
        return True
    pools = [wish for wish in for_push(run.topology) if wish.part == POOLS]
    return run.topology.leaves_some_out and bool(pools) and bool(differences(run, pools, replace=replace))


def apply(run: Run, wishes: Sequence[HostResources], *, replace: bool = False) -> list[FileChange]:
    """Makes it so on every host, and returns what changed. Raises the first host's failure."""
    changes = []
    for wish, answer in _apply(run, wishes, dry_run=False, replace=replace):
        changes += _changes(wish, answer)
    return changes


@contextmanager
def put_back_on_failure(run: Run) -> Iterator[None]:
    """What goes back as a whole in the block has units and the balancers' part go back too: names, certificates, pools.

    Where instances stay on another release than before, by policy or since they cannot go back, it stays for them.
    """
    try:
        yield
    except Exception:
        (_settle if run.stays else _put_back)(run)
        raise
    _settle(run)


def _settle(run: Run) -> None:
    run.try_on_hosts(run.hosts, wire.SETTLE, run.on_site, step="resources")


def put_units_back(run: Run) -> None:
    """What goes back runs by the units of before; those that are new stay until the run's end. Nothing raises."""
    hosts = [name for name in run.web if name not in run.lost]
    _, failed = run.try_on_hosts(
        hosts,
        wire.RESTORE,
        lambda host: wire.RestoreResources(site=run.site(host), run=run.id, parts=[UNITS], new=False),
        step="resources",
    )
    for host, error in failed.items():
        run.warn(f"its units are as the run that failed has made them: {error.message}", host=host)


def _put_back(run: Run) -> None:
    done, failed = run.try_on_hosts(
        run.hosts,
        wire.RESTORE,
        lambda host: wire.RestoreResources(site=run.site(host), run=run.id, parts=list(PARTS)),
        step="resources",
    )
    for host, answer in done.items():
        if answer["changed"]:
            run.bus.emit(Output(f"{_part(run, host)} as before the run", host=host, step="resources"))
    for host, error in failed.items():
        run.warn(f"{_part(run, host)} as the run that failed has made it: {error.message}", host=host)


def _part(run: Run, host: str) -> str:
    return "its part of the balancer is" if host in run.balancers else "its part of the supervisor is"


def _apply(
    run: Run, wishes: Sequence[HostResources], *, dry_run: bool, replace: bool
) -> list[tuple[HostResources, wire.ResourcesApplied]]:
    """A host that has two parts gets its wishes in turn; hosts work at the same time."""
    rounds: list[dict[str, HostResources]] = []
    for wish in wishes:
        if wish.host in run.lost:
            continue
        free = next((batch for batch in rounds if wish.host not in batch), None)
        if free is None:
            rounds.append({wish.host: wish})
        else:
            free[wish.host] = wish
    answers = []
    for batch in rounds:
        done = _apply_batch(run, batch, dry_run=dry_run, replace=replace)
        answers += [(batch[host], answer) for host, answer in done.items()]
    return answers


def _apply_batch(
    run: Run, batch: Mapping[str, HostResources], *, dry_run: bool, replace: bool
) -> dict[str, wire.ResourcesApplied]:
    return run.run_on_hosts(
        list(batch),
        wire.APPLY,
        lambda host: batch[host].request(run.site(host), dry_run=dry_run, replace=replace),
        step="resources",
    )


def _changes(wish: HostResources, answer: wire.ResourcesApplied) -> list[FileChange]:
    return [
        FileChange(wish.host, change["kind"], change["name"], change["action"], change["diff"])
        for change in answer["changed"]
    ]


def _wish(project: Project, part: str, host: Host, adapters: Adapters, facts: Facts | None) -> HostResources:
    topology = project.topology
    survey: Mapping[str, object] = (facts[host.name].survey or {}) if facts else {}
    site = topology.site(host.name)
    resources, handlers = setup_resources(part, topology.settings, site, survey, host, adapters, project=project.base)
    return HostResources(host.name, tuple(resources), handlers)
