"""`servers.ask`: what a balancer's own host is answered by servers, asked at their addresses as the balancer asks."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deployer.agent.instance.health import ask as ask_health
from deployer.agent.model.endpoints import parts
from deployer.agent.model.supervision import Health
from deployer.agent.operation import Context, operation

_AT_ONCE = 16  # servers that are asked at the same time
_PAUSE = 0.5  # seconds between two requests to one server


@operation("servers.ask")
def ask(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Sends the health check to every server from this host.

    Args:
        args: `servers`: name → `ADDRESS:PORT` or the path of a UNIX socket; `health`: the health check; `wait`: seconds
            for which a server that does not pass is asked again.

    Returns:
        `servers`: name → `{ok, status, why, refused}`; `status` null: there was no answer; `refused`: a host is there,
            and nothing listens at that port.
    """
    until = time.monotonic() + float(args.get("wait") or 0)
    health = Health(**args["health"])

    def last_answer(place: str) -> dict[str, Any]:
        address, port = parts(place)
        while True:
            answer = ask_health(address, port, health, exactly=True)
            if answer.ok or time.monotonic() >= until or ctx.cancelled.wait(_PAUSE):
                return {"ok": answer.ok, "status": answer.status, "why": answer.why, "refused": answer.refused}

    names = sorted(args["servers"])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(last_answer, (str(args["servers"][name]) for name in names))
        return {"servers": dict(zip(names, answers))}
