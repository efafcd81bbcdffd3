"""The addresses at which balancers know each slot: one, or two while it comes from one address to another."""

from __future__ import annotations

from collections.abc import Iterable

from deployer.agent.model.messages.balancer import ServerState
from deployer.balancers.base import first_name


class Addresses:
    """First name of a slot → where it is → the name of that server. Balancers without addresses have none."""

    def __init__(self, server_states: Iterable[tuple[str, ServerState]] = (), slots: Iterable[str] = ()) -> None:
        """`server_states` are servers with their states, as balancers tell them; `slots` the first names that count."""
        self._servers: dict[str, dict[str, str]] = {name: {} for name in slots}
        for name, state in sorted(server_states, key=lambda pair: pair[0]):
            if state.get("address") and first_name(name) in self._servers:
                self._servers[first_name(name)].setdefault(state["address"], name)

    def names(self, slot: str) -> list[str]:
        """All servers of a slot, its own name first."""
        others = sorted({*self._servers.get(slot, {}).values()} - {slot})
        return [slot, *others]

    def at(self, slot: str, place: str) -> str:
        """The slot's server that is there; the slot's own name where none is known to be."""
        return self._servers.get(slot, {}).get(place, slot)
