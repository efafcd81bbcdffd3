"""Reads what is true on all hosts, at once, before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deployer.agent.model.messages import instances as wire
from deployer.agent.model.messages.host import SURVEY, LookAtHost, PortHolder
from deployer.agent.model.messages.host import HostFacts as SurveyedHost
from deployer.agent.model.supervision import Instance, label_of
from deployer.agent.model.typed import Wire
from deployer.errors import DeployError, NotReadyError
from deployer.plan.facts import Facts, HostFacts, Serving
from deployer.plan.rolling import processes, schedules, slots
from deployer.plan.rolling.adopting import foreign_ports
from deployer.plan.rolling.slots import free_slot
from deployer.plan.rolling.strategy import choose
from deployer.plan.topology import WebHost, probe_address
from deployer.rollout.pools.pools import Pools
from deployer.rollout.run.run import Run
from deployer.rollout.timestamps import format_utc

TOOLS = ["uv", "systemctl", "supervisorctl", "haproxy", "git", "tar", "journalctl", "apt-get", "cron"]


def survey(run: Run, *, measure: bool = False) -> Facts:
    """Facts of every host and what every instance serves; none of a host that is lost. Raises what a host raises.

    `measure`: also what instances take in memory, for whoever shows it: it costs the hosts a look at every page.
    """
    with run.step("survey", detail=f"{len(run.hosts)} hosts"):
        return read_facts(run, measure=measure)


def read_facts(run: Run, *, measure: bool = False) -> Facts:
    """`survey` without a step of its own."""
    topology = run.topology
    hosts = [host.name for host in topology.hosts if host.name not in run.lost]
    web = {member.name: member for member in topology.web}
    ports = {name: [*member.ports, *member.spare_ports] for name, member in web.items()}
    sockets = {name: _sockets(run, member) for name, member in web.items()}
    version = topology.python_version
    # Hosts of a lab of processes share one machine, each with an address of its own; sockets lie in folders.
    peers = [member.own.address for member in topology.everywhere]
    own = {name: probe_address(member) for name, member in web.items() if member.host.prefix or member.sockets}
    surveys = run.run_on_hosts(
        hosts,
        SURVEY,
        lambda host: LookAtHost(
            site=run.site(host),
            ports=ports.get(host, []),
            address=own.get(host, ""),
            sockets=sockets.get(host, {}),
            tools=TOOLS,
            peers=peers if host in run.balancers else [],
            python_versions=[version] if version else [],
        ),
        step="survey",
    )
    proven = run.run_on_hosts(
        [name for name in web if name in surveys and surveys[name].get("slots")],
        wire.PROVE,
        lambda host: wire.ProveInstances(
            site=run.site(host),
            instances=_instances(run, web[host], surveys[host].get("slots", {})),
            release=None,
            measure=measure,
        ),
        step="survey",
    )
    states, times = _processes(run, web, surveys), _schedules(run, web, surveys)
    facts: dict[str, HostFacts] = {}
    for name in (host.name for host in topology.hosts):
        facts[name] = HostFacts(
            name,
            surveys.get(name),
            process_states=states.get(name, {}),
            schedule_states=times.get(name, {}),
        )
        if name in web and name in proven:
            facts[name] = _with_slots(facts[name], web[name], proven[name]["slots"])
    return Facts(facts)


def _processes(
    run: Run, web: Mapping[str, WebHost], surveys: Mapping[str, SurveyedHost]
) -> dict[str, dict[str, wire.ProcessState]]:
    """Host → `worker@1` → its state, for the processes that it is to have and those that it has."""
    names = {
        name: {label_of(*process) for process in run.topology.processes_of(member)}
        | set(surveys[name].get("processes", {}))
        for name, member in web.items()
        if name in surveys
    }
    answers = run.run_on_hosts(
        [host for host, labels in names.items() if labels],
        wire.PROCESSES,
        lambda host: wire.LookAtProcesses(
            site=run.site(host),
            processes=[processes.wire(run.topology, web[host], label) for label in sorted(names[host])],
        ),
        step="survey",
    )
    return {host: answer["processes"] for host, answer in answers.items()}


def _schedules(
    run: Run, web: Mapping[str, WebHost], surveys: Mapping[str, SurveyedHost]
) -> dict[str, dict[str, wire.ScheduleState]]:
    """Host → `nightly` → its state, for all schedules of the settings and those that it has.

    One that a host is not to have may be off there, with a run still under way.
    """
    names = {
        name: {*run.topology.settings.schedules, *surveys[name].get("schedules", {})} for name in web if name in surveys
    }
    answers = run.run_on_hosts(
        [host for host, schedule_names in names.items() if schedule_names],
        wire.SCHEDULES,
        lambda host: wire.LookAtSchedules(
            site=run.site(host),
            schedules=[schedules.wire(run.topology, web[host], name) for name in sorted(names[host])],
        ),
        step="survey",
    )
    return {host: answer["schedules"] for host, answer in answers.items()}


def look_first(run: Run) -> Facts:
    """One cheap question to every host before its lock is taken. NotReadyError for the first that is not set up.

    The facts have only what a brief look finds.
    """
    hosts = [host.name for host in run.topology.hosts]
    surveys = run.run_on_hosts(hosts, SURVEY, lambda host: LookAtHost(site=run.site(host), brief=True), step="survey")
    facts = Facts({name: HostFacts(name, surveys[name]) for name in hosts})
    require_set_up(run, facts)
    return facts


def with_pools(run: Run, facts: Facts) -> Facts:
    """The same facts with every balancer's view of the servers; a balancer that does not answer raises."""
    run.topology = run.topology.beside_serving(facts)
    return slots.with_pools(run.topology, Facts(facts.hosts, Pools(run).states()))


def with_configured_pools(run: Run, facts: Facts) -> Facts:
    """`with_pools`; of a balancer that does not answer, the servers that its configuration has.

    The facts as they are where even that cannot be read.
    """
    try:
        run.topology = run.topology.beside_serving(facts)
        return slots.with_pools(run.topology, Facts(facts.hosts, Pools(run).configured_states()))
    except DeployError:
        return facts


def require_set_up(run: Run, facts: Facts) -> None:
    """NotReadyError for the first host that `deploy setup` has not prepared."""
    for host in run.topology.hosts:
        require_host_set_up(run, facts, host.name)


def require_host_set_up(run: Run, facts: Facts, host: str) -> None:
    """NotReadyError when `deploy setup` has not prepared that host."""
    require_owned(run, facts, host)
    if not facts[host].set_up:
        raise _not_set_up(run, host, facts)


def require_owned(run: Run, facts: Facts, host: str) -> None:
    """NotReadyError when the root on that host belongs to another app, or to another environment of this one."""
    site, owner = run.topology.site(host), facts[host].owner
    if owner and (owner["app"], owner["env"]) != (site.app, site.env):
        raise NotReadyError(
            f"{site.root} belongs to the app {owner['app']} in {owner['env']}",
            host=host,
            step="survey",
            hint=f"give {site.app} a root of its own, such as root: /srv/{site.app}-{site.env}",
            code="not_ours",
        )


def require_starters(run: Run, facts: Facts) -> None:
    """NotReadyError for the first host that is to have schedules, and lacks what its supervisor leaves them to."""
    for web in run.topology.web:
        program = run.topology.supervisor(web).starts_schedules
        wanted = run.topology.schedules_of(web)
        if program and wanted and not facts[web.name].tools.get(program):
            raise NotReadyError(
                f"{program} is not on {web.name}, and it is what starts {wanted[0]} there",
                host=web.name,
                step="survey",
                hint=f"deploy setup {run.topology.env} installs it",
                code="no_cron",
            )


def require_free_ports(run: Run, facts: Facts) -> None:
    """NotReadyError for the first port that belongs to a process that is not the app's."""
    both = choose(run.topology).action == "replace"
    for web in run.topology.web:
        taken = facts[web.name].ports
        foreign = foreign_ports(facts[web.name])
        starts = [free_slot(web, index, facts[web.name]) for index in range(len(web.ports))] if foreign else web.ports
        for port in (*web.ports, *web.spare_ports) if both else starts:
            if port in foreign and not facts[web.name].serving:
                continue
            holder = taken.get(str(port))
            if holder and not holder["ours"]:
                raise _taken(run, web, port, holder)


def _taken(run: Run, web: WebHost, port: int, holder: PortHolder) -> NotReadyError:
    """Somebody else listens where an instance is to: a unit by its name, since that is what a person would stop."""
    app, unit = run.topology.settings.app, holder["unit"]
    process = f"{holder['command'] or 'a process'} (pid {holder['pid']})"
    beside = f"choose another `port:` for {app} in deploy.yaml"
    return NotReadyError(
        f"port {port} is taken by {unit}: {process}" if unit else f"port {port} is taken by {process}",
        host=web.name,
        step="survey",
        hint=f"deploy setup {run.topology.env} shows how it would be taken over; or {beside} and let it run beside "
        f"{unit} until that is no longer asked: docs/adopting.md"
        if unit
        else f"stop it, or {beside}",
        code="port_taken",
    )


def _not_set_up(run: Run, host: str, facts: Facts) -> NotReadyError:
    """There is no site; or there is one, and this user may not write it."""
    root, removed = run.topology.site(host).root, facts[host].removed
    if removed:
        when = format_utc(removed["since"])
        return NotReadyError(
            f"{removed['who']} took {run.topology.settings.app} off {host} at {when} UTC",
            host=host,
            step="survey",
            cause="and it is still in the inventory",
            hint=f"take {host} out of the inventory, or type deploy setup {run.topology.env} to bring it back",
            code="removed",
        )
    if facts[host].exists:
        return NotReadyError(
            f"{facts[host].user or 'this user'} may not write {root}",
            host=host,
            step="survey",
            cause="it was set up by another user, and the agent is not root",
            hint="log in as that user (-u USER), or set ansible_become: true (with -K where sudo asks for a password)",
            code="not_writable",
        )
    return NotReadyError(
        f"{host} was never set up for {run.topology.settings.app}",
        host=host,
        step="survey",
        cause=f"there is no {root}",
        hint=f"deploy setup {run.topology.env}",
        code="not_set_up",
    )


def _instances(run: Run, web: WebHost, used: Mapping[str, str]) -> list[Wire[Instance]]:
    """The slots in use; of an instance that has none, the first, which then says so."""
    wanted = []
    for index, port in enumerate(web.ports):
        wanted += [(index, slot) for slot in web.slots(index) if str(slot) in used] or [(index, port)]
    return [run.topology.instance(web, index, port).to_wire() for index, port in wanted]


def _sockets(run: Run, web: WebHost) -> dict[str, list[str]]:
    """port → what asks the supervisor whether it holds that port for us, where it can."""
    supervisor = run.topology.supervisor(web)
    commands = {port: supervisor.verbs(web.site, port).socket_state for port in (*web.ports, *web.spare_ports)}
    return {str(port): list(argv) for port, argv in commands.items() if argv}


def _with_slots(facts: HostFacts, web: WebHost, slot_states: Mapping[str, wire.SlotState]) -> HostFacts:
    states = {
        int(port): Serving(
            int(port),
            state["release"],
            state["proven"],
            state["why"],
            state.get("memory", 0),
            state.get("age", 0.0),
            state["unseen"],
        )
        for port, state in slot_states.items()
    }
    serving, beside = slots.ranked(web, states, facts.current)
    return replace(facts, serving=serving, beside=beside)
