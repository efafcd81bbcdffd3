"""The driver: how deploy's agent looks at the pool of a toy balancer, and moves its servers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deployer.agent.balancer.driver import Request, Server
from deployer.agent.model.endpoints import place
from deployer.agent.operation import OpError

from .control import ask


class Toy:
    """The driver `{"kind": "toy", "socket", "pool"}`, the last of which the adapter wrote."""

    def __init__(self, driver: dict[str, Any]) -> None:
        self._socket = str(driver["socket"])
        self._pool = str(driver["pool"])

    def servers(self) -> dict[str, Server]:
        """Returns all servers of the pool by name."""
        servers = self._ask({})["servers"]
        return {name: Server(name=name, **fields) for name, fields in servers.items()}

    def configured(self) -> dict[str, str]:
        """Returns server → `ADDRESS:PORT` by the adapter's file, which is there also while the proxy is not."""
        try:
            with open(self._pool, encoding="utf-8") as file:
                servers = json.load(file)["servers"]
        except FileNotFoundError:
            return {}
        return {name: place(server["address"], server["port"]) for name, server in servers.items()}

    def set(self, names: list[str], admin: str) -> None:
        """Makes servers `ready`, `drain` or `maint`."""
        unknown = sorted(set(names) - set(self.servers()))
        if unknown:
            raise OpError("unknown_server", "the proxy has no server " + ", ".join(unknown))
        self._ask({"set": names, "admin": admin})

    def keep(self) -> None:
        """Does nothing: the proxy answers `set` once its file of states is on the disk."""

    def requests(self, last: float, ahead: float) -> Iterable[Request]:
        """Raises OpError `no_figures`: the proxy keeps no log of requests."""
        raise OpError("no_figures", "a toy balancer keeps no log of requests")

    def close(self, closed: bool) -> None:
        """Shows users the maintenance page, or the app again."""
        self._ask({"closed": closed})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            return ask(self._socket, question)
        except (OSError, ValueError) as error:
            raise OpError("balancer_down", f"the proxy at {self._socket} does not answer: {error}") from error
