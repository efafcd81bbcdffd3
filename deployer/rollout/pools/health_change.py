"""A changed health check: the balancers get it once every server has passed it, asked from their own hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deployer.agent.model.messages.requests import SERVERS, AskServers
from deployer.errors import RolloutError
from deployer.plan.facts import Facts
from deployer.plan.topology import Topology
from deployer.rollout.run.run import Run

WAIT_S = 5.0
"""For how long a server that does not pass is asked again."""


def as_served(topology: Topology, facts: Facts) -> Topology:
    """The topology with the health check of a release that serves, where that is another one than the settings'."""
    others = [
        release
        for release in facts.serving_releases()
        if release.health_check_digest not in ("", topology.health_check_digest)
    ]
    return topology.asking(others[0]) if others else topology


def require_passed(run: Run, servers: Mapping[str, str]) -> None:
    """RolloutError for the first server (name → place) that does not pass today's health check from a balancer's host.

    The hosts of the instances have passed it themselves; a health check may still refuse those who come from elsewhere.
    """
    if not run.balancers or not servers or not run.topology.balancer_adapter.sends_from_its_host:
        return
    check = run.topology.health()
    health = replace(check, lenient=False, host=check.host or "localhost").to_wire()  # as balancers have it
    answers = run.run_on_hosts(
        run.balancers,
        SERVERS,
        lambda host: AskServers(site=run.site(host), servers=dict(servers), health=health, wait=WAIT_S),
        step="resources",
    )
    for balancer, answer in answers.items():
        for name, result in answer["servers"].items():
            if not result["ok"]:
                raise RolloutError(
                    f"{name} at {servers[name]} does not pass the new health check from {balancer}: {result['why']}",
                    host=balancer,
                    step="resources",
                    cause="the balancers keep the earlier health check",
                    hint=f"let {balancer} have the answer that the instance's own host gets, then type "
                    f"deploy push {run.topology.env}",
                    code="not_up",
                )
