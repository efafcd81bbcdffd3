"""Where balancers that deploy does not configure have sent requests: the only memory of a server's earlier address.

A pool of somebody else's, and commands of the user's, know a server by the address that a run names. After the
inventory has another address, the balancer may still send requests to the earlier one, which is the same instance: a
drain of the new address alone would not take it out. `places.json` lies beside the records of drains:

    {"web1-8000": ["192.0.2.1:8000"]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from deployer.agent.balancer.driver import Driver
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.layout import Site
from deployer.agent.operation import OpError
from deployer.agent.system import files


def note(site: Site, driver: dict[str, Any], balancer: Driver) -> None:
    """Remembers where servers serve now, and forgets earlier places that get no requests any more.

    Only within `drain_records.editing`. Raises OpError `balancer_down`.
    """
    if not _known_by_address(driver):
        return
    known = _read(site)
    serving = {name: server.at for name, server in balancer.servers().items() if server.serves}
    others = requested_elsewhere(site, driver, serving)
    endpoints = {**known, **{name: [at, *others.get(name, ())] for name, at in serving.items()}}
    if endpoints != known:
        files.write(_path(site), (json.dumps(endpoints, indent=1, sort_keys=True) + "\n").encode("utf-8"), 0o644)


def requested_elsewhere(site: Site, driver: dict[str, Any], names: Iterable[str]) -> dict[str, list[str]]:
    """Server → its earlier places to which the balancer still sends requests, of those of `names` that have any.

    Raises OpError `balancer_down`.
    """
    if not _known_by_address(driver):
        return {}
    now, known = _places(driver), _read(site)
    in_use = {
        name: [at for at in known.get(name, ()) if at not in now.values() and _gets_requests(driver, name, at)]
        for name in names
        if name in now
    }
    return {name: places for name, places in in_use.items() if places}


def require_nowhere_else(site: Site, driver: dict[str, Any], names: Iterable[str]) -> None:
    """OpError `old_address` for a server that gets requests at an earlier address too."""
    for name, places in sorted(requested_elsewhere(site, driver, names).items()):
        raise OpError(
            "old_address",
            f"the balancer still sends requests for {name} to {', '.join(places)}, and the inventory has "
            f"it at {_places(driver)[name]}",
            f"have the balancer send them to {_places(driver)[name]} alone; none is lost, since both "
            "reach the same instance",
            detail={"server": name, "places": places},
        )


def _known_by_address(driver: dict[str, Any]) -> bool:
    return bool(driver.get("addresses"))


def _places(driver: dict[str, Any]) -> dict[str, str]:
    """Server → `ADDRESS:PORT`, as the inventory has it."""
    return dict(driver["addresses"])


def _gets_requests(driver: dict[str, Any], name: str, at: str) -> bool:
    """Whether the balancer sends requests for a server to that place, or has some in flight there."""
    server = create_driver({**driver, "addresses": {name: at}}).servers().get(name)
    return server is not None and (server.admin == "ready" or server.sessions > 0)


def _path(site: Site) -> str:
    return site.state + "/places.json"


def _read(site: Site) -> dict[str, list[str]]:
    try:
        with open(_path(site), encoding="utf-8") as file:
            known: dict[str, list[str]] = json.load(file)
    except FileNotFoundError:
        return {}
    return known
