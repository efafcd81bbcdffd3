"""An app that another tool runs today comes to deploy: what would be taken over is shown, allowed, and then done.

    setup            refuses, and shows the foreign units and the change of the foreign frontends
    setup --replace  writes down that a person allows it; users notice nothing, for nothing is moved
    push             ours serve beside them → the frontends lead to our pool → nobody is connected → the units stop

What was begun is gone on with by the next push, before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployer.agent.model.endpoints import place
from deployer.agent.model.messages import takeover as wire
from deployer.agent.model.messages.host import PortHolder
from deployer.balancers.base import Front
from deployer.errors import DeployError, NotReadyError, RolloutError
from deployer.plan.facts import Facts, HostFacts
from deployer.plan.rolling.adopting import foreign_ports, front_of, pending_units
from deployer.plan.topology import BalancerHost, Topology, WebHost
from deployer.remote.errors import AgentError
from deployer.rollout.pools.pools import Pools
from deployer.rollout.run.locks import require_not_frozen
from deployer.rollout.run.run import Run

STEP = "adopt"
_UNTOUCHED = ("changed", "invalid", "host_busy", "nobody_serves")
"""Refusals after which everything is as it was."""
_BY_HAND = "or give the app another `port:` and move it by hand: docs/adopting.md"


@dataclass(frozen=True)
class Adoption:
    """What is there and not ours: host → its units, balancer → its frontends, as their agents describe them."""

    units: Mapping[str, list[wire.ForeignUnit]]
    fronts: Mapping[str, wire.ForeignFront]

    def refused(self, env: str) -> NotReadyError:
        """The error that shows a person all of it."""
        host, units = next(iter(self.units.items()))
        log = [
            f"{name}: {unit['unit']} listens at {_ports(unit)}: {unit.get('command')} (pid {unit.get('pid')})"
            for name, every in self.units.items()
            for unit in every
        ]
        for name, front in self.fronts.items():
            log += [f"{name}: {front['path']}", *str(front["diff"]).splitlines()]
        return NotReadyError(
            f"{units[0]['unit']} serves at {_ports(units[0])}, which the app is to have",
            host=host,
            step=STEP,
            cause="deploy did not start it, and takes over nothing without permission",
            log=log,
            hint=f"deploy setup {env} --replace allows it: the first push then starts ours beside it, leads the "
            f"frontends as shown, and stops and disables it once no user is connected; {_BY_HAND}",
            code="foreign",
        )


def find_takeover(run: Run, facts: Facts, *, anew: bool) -> Adoption | None:
    """What would have to be taken over, of that which nobody has allowed yet (`anew`: also of that); None: nothing.

    Raises NotReadyError where it cannot be, with the reason and the way out.
    """
    topology = run.topology
    suspects = [web for web in topology.web if _find_foreign_holders(web, facts[web.name], anew)]
    if not suspects:
        return None
    answers = run.run_on_hosts(
        [web.name for web in suspects],
        wire.UNITS,
        lambda host: wire.FindUnits(site=run.site(host), ports=list(topology.web_host(host).ports)),
        step=STEP,
    )
    units = {host: list(answer["units"]) for host, answer in answers.items() if answer["units"]}
    if not units:
        return None
    for host, host_units in units.items():
        for unit in host_units:
            why = unit.get("why") or _same_name(topology, unit)
            if why:
                raise _impossible(unit, host, why)
    first, whole = next(iter(units)), _everybodys(topology, facts, units)
    _require_a_front(topology, units[first][0], first)
    fronts = {balancer.name: _front(run, balancer, whole, units[first][0]) for balancer in topology.balancers}
    return Adoption(units, fronts)


def record(run: Run, adoption: Adoption) -> None:
    """Writes down, on every host that it is about, that a person has allowed it."""
    hosts = {*adoption.units, *adoption.fronts}
    run.run_on_hosts(
        [host.name for host in run.topology.hosts if host.name in hosts],
        wire.RECORD,
        lambda host: wire.RecordAdoption(
            site=run.site(host),
            run=run.id,
            who=run.who,
            units=adoption.units.get(host, []),
            front=adoption.fronts.get(host),
        ),
        step=STEP,
    )


def lead(run: Run, facts: Facts) -> bool:
    """The foreign frontends lead to the app's pool, one balancer after the other. Returns whether all do now.

    Raises what the first one refuses, as long as no frontend leads to us: all can go back then. Once one does, or may
    do, ours have to stay, so what fails then is only warned about: both ways serve.
    """
    fronts = {balancer.name: front_of(facts[balancer.name]) for balancer in run.topology.balancers}
    begun = any(front and front["state"] != "recorded" for front in fronts.values())
    whole = True
    for balancer in run.topology.balancers:
        front = fronts[balancer.name]
        if not front or front["state"] == "moved":
            continue
        try:
            _lead(run, balancer, front)
        except DeployError as error:
            if not begun and isinstance(error, (AgentError, RolloutError)) and error.code in _UNTOUCHED:
                raise
            again = error.hint or f"deploy push {run.topology.env} tries again"
            run.warn(
                f"{front['path']} may still lead to what was there before: {error.message}",
                host=balancer.name,
                hint=again,
            )
            whole = False
        begun = True
    return whole


def _lead(run: Run, balancer: BalancerHost, front: wire.RecordedFront) -> None:
    with run.step("front", host=balancer.name, detail=str(front["path"])) as note:
        if balancer.name not in _served(run):
            raise RolloutError(
                f"no instance of ours serves in {front['backend']}",
                host=balancer.name,
                step=STEP,
                hint=f"deploy status {run.topology.env} shows what serves",
                code="nobody_serves",
            )
        commands = run.topology.balancer_adapter.handlers(balancer.site, systemd=balancer.systemd)
        handler = [list(argv) for every in commands.values() for argv in every]
        request = wire.MoveFront(site=run.site(balancer.name), run=run.id, handler=handler)
        run.call(balancer.name, wire.MOVE, request, step=STEP)
        note.detail = f"{front['path']} leads to {front['backend']}"


def retire(run: Run, facts: Facts) -> None:
    """The foreign units stop, where ours serve, once no user is connected to them. What cannot is warned about."""
    hosts = [web.name for web in run.topology.web if pending_units(facts[web.name])]
    hosts = [host for host in hosts if host not in run.lost and host not in run.behind]
    if not hosts:
        return
    why = _why_not_yet(run, facts)
    if why:
        run.warn(f"what another tool runs is not retired: {why}", hint=f"deploy push {run.topology.env} looks again")
        return
    patience = run.topology.settings.rolling.drain_timeout
    with run.step("retire", detail=", ".join(hosts)) as note:
        done, failed = run.try_on_hosts(
            hosts,
            wire.RETIRE,
            lambda host: wire.RetireUnits(site=run.site(host), run=run.id, patience=patience),
            step=STEP,
        )
        retired = [f"{unit} on {host}" for host, answer in done.items() for unit in answer["retired"]]
        note.detail = f"stopped and disabled: {', '.join(retired) or 'nothing'}"
    again = f"deploy push {run.topology.env} tries again"
    for host, answer in done.items():
        for unit, connections in answer["busy"].items():
            run.warn(f"{unit} still has {connections} connections, and serves on", host=host, hint=again)
    for host, error in failed.items():
        run.warn(f"what another tool runs there was not retired: {error.message}", host=host, hint=error.hint or again)


def _why_not_yet(run: Run, facts: Facts) -> str:
    """What users would miss if the foreign units stopped now; empty when nothing."""
    try:
        serving, led = _served(run), led_here(run, facts)
    except DeployError as error:
        return f"it is not known what the balancers do: {error.message}"
    for balancer in run.topology.balancers:
        if balancer.name not in serving:
            return f"{balancer.name} has no instance of ours that serves"
    elsewhere = [name for name, is_led in led.items() if not is_led]
    return f"the frontends on {', '.join(elsewhere)} do not lead to ours" if elsewhere else ""


def led_here(run: Run, facts: Facts) -> dict[str, bool]:
    """Balancer → whether its foreign frontends lead to the app's pool, of those that a person has allowed to be led.

    It is read from the configuration as it is now: whoever has led them back has not told us.
    """
    fronts = {name: front for name in run.balancers if (front := front_of(facts[name]))}
    answers = run.run_on_hosts(
        list(fronts),
        wire.FRONT,
        lambda host: wire.FindFront(
            site=run.site(host),
            kind=fronts[host].get("kind", "haproxy"),
            path=fronts[host]["path"],
            places=fronts[host]["places"],
            backend=fronts[host]["backend"],
        ),
        step=STEP,
    )
    return {name: answer["led"] for name, answer in answers.items()}


def resume(run: Run, facts: Facts) -> bool:
    """Goes on with what an earlier push began: frontends that were about to be led, units that nobody asks any more.

    Returns whether there was anything.
    """
    topology = run.topology
    fronts = [front_of(facts[balancer.name]) for balancer in topology.balancers]
    if not any(front and front["state"] != "recorded" for front in fronts):
        return False
    left = [front for front in fronts if front and front["state"] != "moved"]
    if not left and not any(pending_units(facts[web.name]) for web in topology.web):
        return False
    require_not_frozen(run, facts)
    run.warn("an earlier push had begun to take over what another tool runs: this one goes on with it first")
    if lead(run, facts) and not topology.leaves_some_out:
        retire(run, facts)
    return True


def _served(run: Run) -> set[str]:
    """The balancers whose pool has an instance of ours that serves."""
    pools = Pools(run).states()
    return {name for name, servers in pools.items() if any(state["serves"] for state in servers.values())}


def _same_name(topology: Topology, unit: wire.ForeignUnit) -> str:
    if not str(unit["unit"]).startswith(f"{topology.settings.app}@"):
        return ""
    return "deploy's own unit would have its very name"


def _find_foreign_holders(web: WebHost, host_facts: HostFacts, anew: bool) -> list[PortHolder]:
    """Whoever serves at the ports of a host's instances by a unit; unless `anew`, without those that are on record."""
    taken = host_facts.ports
    known = set() if anew else foreign_ports(host_facts)
    holders = [taken.get(str(port)) for port in web.ports if port not in known and not web.host.prefix]
    return [holder for holder in holders if holder and not holder["ours"] and holder["unit"] and not holder["socket"]]


def _everybodys(
    topology: Topology, facts: Facts, units: Mapping[str, list[wire.ForeignUnit]]
) -> dict[str, Sequence[wire.ForeignUnit]]:
    """All units that are to retire: those that were found now, and those that were allowed before."""
    return {web.name: units.get(web.name) or pending_units(facts[web.name]) for web in topology.web}


def _require_a_front(topology: Topology, unit: wire.ForeignUnit, host: str) -> None:
    if topology.leaves_some_out:
        raise _impossible(unit, host, "it is taken over on all hosts at once, and this run leaves some out")
    if not topology.balancers:
        why = "users come to its port directly, which would have to close before ours can open it"
        raise _impossible(unit, host, why, "put a balancer before it first (group `balancers` in the inventory)")
    for balancer in topology.balancers:
        if not topology.settings.balancer.manage or not _led_by(topology, balancer):
            why = "only frontends of an HAProxy or nginx whose pool deploy manages can be led elsewhere"
            raise _impossible(unit, host, why)
        if not balancer.systemd:
            raise _impossible(unit, host, f"the balancer on {balancer.name} is not a systemd service")


def _front(
    run: Run, balancer: BalancerHost, units: Mapping[str, Sequence[wire.ForeignUnit]], first: wire.ForeignUnit
) -> wire.ForeignFront:
    """The foreign frontends of a balancer that lead to these units, and what they would be changed to."""
    topology = run.topology
    places = {
        place(address, port): web.name
        for web in topology.web
        for unit in units[web.name]
        for port in unit["ports"]
        for address in _addresses(web, balancer)
    }
    pool_frontend = _led_by(topology, balancer)
    assert pool_frontend is not None, "_require_a_front raises for such a balancer"
    request = wire.FindFront(
        site=run.site(balancer.name),
        kind=topology.kind,
        path=pool_frontend.path,
        places=places,
        backend=pool_frontend.backend,
    )
    answer = run.call(balancer.name, wire.FRONT, request, step=STEP)
    if answer["why"]:
        raise _impossible(first, balancer.name, answer["why"], f"mend that file, then type deploy setup {topology.env}")
    return {
        "kind": topology.kind,
        "path": answer["path"],
        "places": places,
        "backend": pool_frontend.backend,
        "diff": answer["diff"],
        "backends": answer["backends"],
    }


def _led_by(topology: Topology, balancer: BalancerHost) -> Front | None:
    return topology.balancer_adapter.front(topology.pool(balancer))


def _addresses(web: WebHost, balancer: BalancerHost) -> list[str]:
    """How a balancer's configuration may name a host."""
    loopback_names = ["127.0.0.1", "::1", "localhost"] if web.name == balancer.name else []
    return list(dict.fromkeys([web.own.address, web.name, web.host.ssh.hostname, *loopback_names]))


def _impossible(unit: wire.ForeignUnit, host: str, why: str, way_out: str = "") -> NotReadyError:
    return NotReadyError(
        f"{unit['unit']} serves at {_ports(unit)}, which the app is to have, and deploy cannot take it over: {why}",
        host=host,
        step=STEP,
        hint=f"{way_out or unit.get('stop') or 'systemctl disable --now ' + str(unit['unit'])}, {_BY_HAND}",
        code="foreign",
    )


def _ports(unit: wire.ForeignUnit) -> str:
    return "port " + ", ".join(map(str, unit["ports"]))
