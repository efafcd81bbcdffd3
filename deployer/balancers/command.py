"""A balancer that the user's own commands move: nothing of it is ours to configure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deployer.agent.model.endpoints import place
from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Resource
from deployer.agent.model.supervision import Argv
from deployer.balancers.base import Balancer, Front, Pool, Server


class Command(Balancer):
    """`balancer.kind: command`. The environment of the commands is in `deployer.agent.balancer.command`."""

    name = "command"
    configures_pools = False
    sends_from_its_host = False
    uses_secrets = True
    why_no_figures = "kind: command reports no request figures"
    why_no_sockets = "only your own commands know how the balancer reaches an instance"

    def base(self, site: Site, *, systemd: bool) -> list[Resource]:
        """Nothing is installed."""
        return []

    def resources(self, pool: Pool) -> list[Resource]:
        """No file: the balancer's servers are the user's to configure."""
        return []

    def absent(self, pool: Pool) -> list[Resource]:
        """Nothing is there that could go."""
        return []

    def handlers(self, site: Site, *, systemd: bool) -> dict[str, tuple[Argv, ...]]:
        """None."""
        return {}

    def check(self, site: Site, *, systemd: bool) -> Argv:
        """None: every run asks `state` before it changes anything."""
        return ()

    def front(self, pool: Pool) -> Front | None:
        """None: nothing is known of the balancer behind the commands."""
        return None

    def driver(self, pool: Pool) -> dict[str, Any]:
        """Return the commands and each server's environment; secrets are read on the host."""
        return {
            "kind": self.name,
            "site": asdict(pool.site),
            "backend": pool.name,
            **{verb: pool.options[verb] for verb in ("drain", "admit", "state", "timeout")},
            "servers": {server.name: _instance_of(server) for server in pool.servers},
            "addresses": {server.name: place(server.address, server.port) for server in pool.servers},
        }


def _instance_of(server: Server) -> dict[str, str]:
    host, _, instance = server.instance.rpartition(":")
    return {"host": host, "instance": instance}
