"""Addresses that balancers' configurations are made of, checked when settings and inventory are read."""

from __future__ import annotations

from deployer.balancers.base import Server, server_name
from deployer.balancers.values import Listen, server
from deployer.errors import SettingsError
from deployer.plan.topology import BalancerHost, Topology, WebHost
from deployer.settings.load import Loaded


def require_addresses(loaded: Loaded, topology: Topology) -> None:
    """SettingsError for an address that cannot be written into a balancer's configuration.

    The error names the host, or file and line of the setting. Nothing is checked where deploy writes no configuration.
    """
    if not topology.configures_pools:
        return
    for balancer in topology.balancers:
        _require_listen(loaded, topology, balancer)
    for web in topology.everywhere:
        if web.own.instances and not web.sockets:
            _require_reachable(web, loaded.settings.app)


def _require_listen(loaded: Loaded, topology: Topology, balancer: BalancerHost) -> None:
    pool = topology.pool(balancer)
    for key, text in (("listen", pool.listen), ("listen_tls", pool.https.listen if pool.https else "")):
        try:
            if text:
                Listen.parse(text)
        except SettingsError as error:
            variable = f"deploy_{key}"
            if variable in balancer.host.variables:
                error.message = error.message.replace("balancer.listen", f"the variable {variable}")
                error.host = balancer.name
            else:
                error.message = error.message.replace("balancer.listen", f"balancer.{key}")
                error.file, error.line = str(loaded.path), loaded.mark("balancer", key).line
            raise


def _require_reachable(web: WebHost, app: str) -> None:
    try:
        server(Server(server_name(web.name, web.own.port), web.own.address, web.own.port))
    except SettingsError as error:
        error.host = web.name
        error.hint = f"set where balancers reach it, in the inventory: deploy: {{{app}: {{address: …}}}}"
        raise
