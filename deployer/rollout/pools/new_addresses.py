"""Addresses to which a push moves servers, tried from the balancers' own hosts before the push changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from deployer.agent.model.endpoints import parts
from deployer.agent.model.messages.requests import SERVERS, AskServers
from deployer.agent.model.supervision import Health
from deployer.balancers.base import second_name
from deployer.errors import NotReadyError
from deployer.plan.facts import Facts
from deployer.plan.rolling.slots import moved, seconds
from deployer.plan.topology import Topology
from deployer.rollout.run.run import Run

WAIT_S = 2.0
"""For how long a server that does not pass is asked again."""


@dataclass(frozen=True)
class Move:
    """A server that serves at one place, and that the inventory has at another. `health` is its own release's check."""

    server: str
    host: str
    before: str
    after: str
    health: Health

    @property
    def changes_family(self) -> bool:
        """Whether only the release that the push builds listens there: with IPv6 in place of IPv4, or the reverse."""
        return (":" in parts(self.before)[0]) != (":" in parts(self.after)[0])


def require_new_addresses(run: Run, facts: Facts) -> None:
    """Asks every server that serves for its health at the address that the inventory has for it now.

    A host may refuse the connection at an address of the other IP family, where its release does not listen yet.

    Raises NotReadyError for the first server that is not well there, as a balancer's host sees it.
    """
    if not run.topology.balancers or not run.topology.balancer_adapter.sends_from_its_host:
        return
    moves = list(_moves(run.topology, facts))
    if not moves:
        return
    with run.step("addresses", detail=", ".join(sorted(move.after for move in moves))):
        for check in {str(move.health): move.health for move in moves}.values():
            _ask(run, check, {move.server: move for move in moves if move.health == check})


def _moves(topology: Topology, facts: Facts) -> Iterator[Move]:
    """The moves of this run. A UNIX socket is reached on its own host alone, so nobody is asked there."""
    places, before = seconds(topology, facts), moved(topology, facts)
    for web in topology.web:
        for instance in facts[web.name].serving.values():
            name = topology.server(web.name, instance.port)
            place = places.get(second_name(name), "/")
            if instance.proven and not place.startswith("/"):
                release = facts[web.name].release(instance.release or "")
                check = topology.asking(release).health()
                # Balancers send this Host where neither health.headers nor domains name one.
                health = replace(check, lenient=False, host=check.host or "localhost")
                yield Move(name, web.name, before[name], place, health)


def _ask(run: Run, health: Health, moves: Mapping[str, Move]) -> None:
    servers = {name: move.after for name, move in moves.items()}
    answers = run.run_on_hosts(
        run.balancers,
        SERVERS,
        lambda host: AskServers(site=run.site(host), servers=servers, health=health.to_wire(), wait=WAIT_S),
        step="addresses",
    )
    for balancer, answer in answers.items():
        for name, result in answer["servers"].items():
            if not result["ok"] and not (result["refused"] and moves[name].changes_family):
                raise _not_well(moves[name], balancer, result["why"])


def _not_well(move: Move, balancer: str, why: str) -> NotReadyError:
    return NotReadyError(
        f"{move.server} does not pass its health check at {move.after}, where the inventory has it now",
        host=balancer,
        step="addresses",
        cause=f"{balancer} asked there: {why}",
        hint=f"correct the address of {move.host} in the inventory, or have {move.host} answer there; "
        f"until then it serves on at {move.before}",
        code="new_address",
    )
