"""What came of the requests that a balancer sent to each server in the last seconds, by the balancer's own log of them.

    {"web1-8000": {"requests": 120, "failed": 2, "lost": 1, "times": {"4": 100, "5": 20}}}

`requests` were sent there and ended; `failed` of them were answered with 500 or more, `lost` got no whole answer: the
server refused or closed the connection, or was too late. `times` are whole milliseconds from the request to the first
byte of its answer → how many took that long. Requests that a user gave up are in none of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from deployer.agent.balancer.driver import Request
from deployer.agent.balancer.kinds import create_driver
from deployer.agent.model.messages import balancer as wire
from deployer.agent.operation import Context, operation


def tally(requests: Iterable[Request]) -> dict[str, wire.RequestStats]:
    """The figures of every server that had a request."""
    stats_by_server: dict[str, wire.RequestStats] = {}
    for request in requests:
        stats = stats_by_server.setdefault(request.server, {"requests": 0, "failed": 0, "lost": 0, "times": {}})
        stats["requests"] += 1
        stats["lost"] += request.status is None
        stats["failed"] += request.status is not None and request.status >= 500
        if request.status is not None and request.took is not None:
            took = str(max(0, round(request.took)))
            stats["times"][took] = stats["times"].get(took, 0) + 1
    return stats_by_server


@operation(wire.STATS)
def read(ctx: Context, request: wire.ReadStats) -> wire.Stats:
    """Reads what came of the requests to all servers, from the balancer's own log.

    Raises:
        OpError: `no_figures` (the balancer keeps none, and why), `balancer_down`.
    """
    return {
        "servers": tally(create_driver(request["driver"]).requests(float(request["last"]), float(request["ahead"])))
    }
