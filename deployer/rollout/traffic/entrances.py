"""Where users connect to the app: the address and port of each balancer that deploy configures."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from deployer.agent.model.messages import requests as wire
from deployer.balancers.values import Listen
from deployer.plan.topology import BalancerHost, Topology
from deployer.rollout.run.run import Run


class Entrance(NamedTuple):
    """Where a balancer's own host reaches what users do. `tls`: the balancer terminates it there."""

    address: str
    port: int
    tls: bool


def entrances(topology: Topology) -> dict[str, Entrance]:
    """Return the entrance of each balancer.

    Empty where deploy does not configure the balancers.
    """
    if not topology.configures_pools:
        return {}
    return {balancer.name: _entrance(topology, balancer) for balancer in topology.balancers}


def closed_entrances(run: Run, balancers: Collection[str]) -> dict[str, str]:
    """Connect to each of `balancers` as users do, and return those that accept no connection → why.

    HAProxy goes on checking its servers while its frontend is disabled: their state alone does not tell.
    """
    places = {host: place for host, place in entrances(run.topology).items() if host in balancers}

    def request(host: str) -> wire.ConnectToBalancer:
        place = places[host]
        return wire.ConnectToBalancer(site=run.site(host), address=place.address, port=place.port)

    answers, failures = run.try_on_hosts(list(places), wire.CONNECT, request, step="status")
    for host, error in failures.items():
        run.warn(
            f"{host} cannot tell whether it accepts connections: {error.message}", host=host, hint=error.hint or ""
        )
    return {
        host: f"it does not accept connections at port {places[host].port}: {answer['why']}"
        for host, answer in answers.items()
        if not answer["open"]
    }


def _entrance(topology: Topology, balancer: BalancerHost) -> Entrance:
    pool = topology.pool(balancer)
    listen = Listen.parse(pool.https.listen if pool.https else pool.listen)
    return Entrance(listen.reached_at, listen.port, pool.https is not None)
